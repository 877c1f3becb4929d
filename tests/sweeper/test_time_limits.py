"""Jobs of SLURM have time to work before their limit, and are put back into the queue at it."""

import pytest

from tests.sweeper.test_mistakes import assert_told

ON_SLURM = ["hydra/launcher=submitit_slurm", "hydra.sweeper.ledger=dahps/train", "model=vit", "lr=1,2"]
DRY = "hydra.sweeper.dry_run=true"
LAUNCHER = "defaults: [submitit_slurm]\nmax_num_timeout: %s\n"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (["timeout_min=1"], ["a job of 1 min", "120 s before its limit", "at least 3 min", "signal_delay_s"]),
        (["timeout_min=2"], ["a job of 2 min", "at least 3 min"]),
        (["timeout_min=10", "signal_delay_s=599"], ["at least 11 min"]),
    ],
)
def test_a_job_that_is_told_to_end_when_it_begins_is_refused_before_it_is_submitted(project, limits, words):
    outcome = project.sweep(*ON_SLURM, *[f"hydra.launcher.{one}" for one in limits])
    assert_told(outcome, "hydra.launcher.timeout_min", "no time to work", *words)
    assert not project.ledger.exists()


def test_a_short_job_whose_signal_comes_late_enough_is_not(project):
    limits = ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=30"]
    assert project.sweep(*ON_SLURM, *limits, DRY).code == 0


@pytest.mark.parametrize(
    ("config", "overrides", "times"),
    [
        (None, [], 100),
        (None, ["hydra.launcher.max_num_timeout=0"], 0),
        (None, ["hydra.launcher.max_num_timeout=7"], 7),
        ("conf/hydra/launcher/mine.yaml", ["hydra/launcher=mine"], 0),
        ("conf/experiment/mine.yaml", ["+experiment=mine"], 0),
    ],
)
def test_a_job_is_requeued_at_its_limit_unless_a_person_says_otherwise(project, config, overrides, times):
    if config == "conf/hydra/launcher/mine.yaml":
        project.write(config, LAUNCHER % 0)
    elif config:
        project.write(config, "# @package _global_\nhydra: {launcher: {max_num_timeout: 0}}\n")
    outcome = project.sweep(*ON_SLURM, *overrides, DRY)
    assert outcome.code == 0, outcome.output
    assert f"hydra.launcher.max_num_timeout={times}\n" in outcome.output
