"""HyperBand whose resource reaches no trial is refused where that is certain, and otherwise reported."""

import pytest

from tests.sweeper.test_levels import HYPERBAND
from tests.sweeper.test_mistakes import assert_told

COMMAND = ["model=vit", "lr=1,2,3", *HYPERBAND]
ASKS = "import dahps_core\n\nresource = dahps_core.current_trial().resource\n"
UNREAD = "finished without reading its resource"


def test_a_resource_that_nothing_reads_is_refused_before_a_ledger_is_made(project):
    """Neither a config nor the code that the app may import does."""
    outcome = project.sweep(*COMMAND)
    assert_told(
        outcome, "hyperband gives each trial a resource", "strategy.resource_key", "${dahps:resource}"
    )
    assert not project.ledger.exists()


@pytest.mark.parametrize(
    "override", ["+epochs=${dahps:resource}", "hydra.sweeper.strategy.resource_key=+epochs"]
)
def test_one_that_a_config_passes_on_is_not(project, override):
    outcome = project.sweep(*COMMAND, override)
    assert outcome.code == 0, outcome.output
    assert {config["epochs"] for config in project.configs()} == {1, 3}
    assert UNREAD not in outcome.output


def test_one_that_only_an_option_out_of_reach_passes_on_is(project):
    project.write("conf/model/long.yaml", "name: long\nepochs: ${dahps:resource}\n")
    assert project.sweep(*COMMAND).code == 1
    outcome = project.sweep("model=vit,long", *HYPERBAND, "hydra.sweeper.dry_run=true")
    assert outcome.code == 0, outcome.output


@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=submitit_local", "hydra.sweeper.n_workers=1"]])
def test_where_code_may_read_it_a_trial_that_does_not_is_reported(project, launcher):
    project.write("helpers.py", ASKS)  # which the app may import, and does not
    outcome = project.sweep(*COMMAND, *launcher)
    assert outcome.code == 0, outcome.output
    assert outcome.output.count(UNREAD) == 1
    assert "strategy.resource_key" in outcome.output
    assert [line for line in project.status()["troubles"] if UNREAD in line]


def test_code_that_reads_it_is_left_alone(project):
    project.write("helpers.py", ASKS)
    project.edit(
        "train.py", "    return cfg.lr\n", "    import helpers\n\n    return cfg.lr * helpers.resource\n"
    )
    outcome = project.sweep(*COMMAND, "hydra.sweeper.isolation=process")
    assert outcome.code == 0, outcome.output
    assert UNREAD not in outcome.output
    assert not project.status()["troubles"]


def test_a_dry_run_lists_rungs_brackets_the_budget_and_the_override(project):
    options = ["hydra.sweeper.strategy.resource_key=+epochs", "hydra.sweeper.max_resource_total=200"]
    outcome = project.sweep(*COMMAND, *options, "hydra.sweeper.dry_run=true")
    assert outcome.code == 0, outcome.output
    for words in (
        "Rungs: 1, 3, 9",
        "Bracket 0, 9 trials of a round: 9 to 1, 3 to 3, 1 to 9",
        "Bracket 2, 3 trials of a round: 3 to 9",
        "Budget: a round uses 69 in all; 200 of them",
        "override +epochs=1 at the first rung",
    ):
        assert words in outcome.output, outcome.output
