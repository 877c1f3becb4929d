"""An option of the sweeper that is typed as a key of the app is refused; an app's own keys are not."""

import pytest

from tests.sweeper.test_mistakes import assert_told

SEARCH = ["hydra.sweeper.ledger=dahps/train", "model=vit"]
DRY = "hydra.sweeper.dry_run=true"


@pytest.mark.parametrize(
    ("argument", "right"),
    [
        ("+detach=true", "hydra.sweeper.detach=true"),
        ("++n_workers=64", "hydra.sweeper.n_workers=64"),
        ("+direction=maximize", "hydra.sweeper.direction=maximize"),
        ("+only={model: vit}", "hydra.sweeper.only={model:vit}"),
        ("+strategy.eta=4", "hydra.sweeper.strategy.eta=4"),
        ("+strategy=hyperband", "hydra.sweeper.strategy.name=hyperband"),
        ("+sweeper.dry_run=true", "hydra.sweeper.dry_run=true"),
    ],
)
def test_an_option_without_its_place_is_refused_with_what_to_type(project, argument, right):
    outcome = project.sweep(*SEARCH, argument)
    assert_told(outcome, "command line", f"Type {right}.", "and leave the + out")
    assert not project.ledger.exists()
    assert not project.configs()


@pytest.mark.parametrize(
    "argument", ["+seed=1", "+metric=accuracy", "+patience=5", "+strategy=ddp", "+a.detach=1"]
)
def test_what_apps_commonly_add_is_not(project, argument):
    project.edit("conf/config.yaml", "seed: ${dahps:repetition}\n", "")
    assert project.sweep(*SEARCH, argument, DRY).code == 0


@pytest.mark.parametrize(
    ("config", "argument"),
    [
        ("detach: false\n", "++detach=true"),
        ("detach: false\n", "detach=true"),
        ("stops: ${detach}\n", "+detach=true"),
        ("stops: '${oc.select:detach,false}'\n", "+detach=true,false"),
    ],
)
def test_a_key_that_the_app_has_or_refers_to_is_its_own(project, config, argument):
    project.edit("conf/config.yaml", "lr: 0.1\n", f"lr: 0.1\n{config}")
    assert project.sweep(*SEARCH, argument, DRY).code == 0


def test_a_config_group_of_the_app_is_its_own(project):
    project.write("conf/isolation/strict.yaml", "level: 3\n")
    assert project.sweep(*SEARCH, "+isolation=strict", DRY).code == 0
