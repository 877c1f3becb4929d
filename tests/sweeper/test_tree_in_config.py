"""Where a tree does not fit the app's config, that is a fault at its place, before anything is launched."""

import pytest

from tests.sweeper.test_mistakes import assert_told

DEPTH = {"key": "model.heads", "values": [2], "default": None}
RUNS = [[], ["hydra.sweeper.dry_run=true"]]


def level(key, values, default=None, **cases):
    return {"key": key, "values": values, "default": default, **cases}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, ["null is not an option of the config group model", "it has resnet, vit", "file is empty"]),
        (3, ["3 is not an option of the config group model", "it has resnet, vit"]),
        (1, ["1 is not an option of the config group model", 'quote it: "1"']),
        (True, ["true is not an option", 'quote it: "true"']),
        (["vit", 1], ["1 is not an option"]),
    ],
    ids=str,
)
def test_what_is_no_name_is_no_option_of_a_config_group(project, value, words):
    for name in ("1", "true") if value in (1, True) else ():
        project.write(f"conf/model/{name}.yaml", "name: other\n")
    tree = project.tree({"root": level("lr", [1, 2], level("model", ["resnet", value]))})
    assert_told(project.sweep(tree), "1 fault:", "root(lr).1: ", *words)
    assert not project.ledger.exists()


def test_an_option_whose_name_is_a_number_is_chosen_when_it_is_quoted(project):
    project.write("conf/model/1.yaml", "name: one\n")
    outcome = project.sweep(project.tree({"root": level("model", ["1"])}))
    assert outcome.code == 0, outcome.output
    assert [config["model"] for config in project.configs()] == [{"name": "one"}]


def test_a_mapping_is_merged_into_the_config_of_a_group(project):
    outcome = project.sweep(project.tree({"root": level("model", [{"heads": 7}]), "common": {"+a": 1}}))
    assert outcome.code == 1, "the app chooses no model by itself"
    project.edit("conf/config.yaml", "model: ???", "model: vit")
    outcome = project.sweep(project.tree({"root": level("model", [{"heads": 7}]), "common": {"+a": 1}}))
    assert outcome.code == 0, outcome.output
    assert [config["model"]["heads"] for config in project.configs()] == [7]


@pytest.mark.parametrize("how", RUNS, ids=["run", "dry run"])
def test_a_key_that_the_config_does_not_have_is_found_below_each_option_of_a_group(project, how):
    """`model.heads` is a key of the vit alone, and the subtree stands below both."""
    shared = level("lr", [1, 2], level("model.heads", [2, 4]))
    outcome = project.sweep(project.tree({"root": level("model", ["vit", "resnet"], shared)}), *how)
    assert_told(outcome, "1 fault:", "root(model).resnet(lr).", "no key model.heads", "write +model.heads")
    assert not project.ledger.exists()
    assert not project.configs()


def test_every_misspelt_key_is_told_with_what_may_be_meant(project):
    tree = level("model", ["vit", "resnet"], None, vit=level("model.head", [1]), resnet=level("lrr", [1]))
    told = ["root(model).vit: the app's config has no key model.head there (did you mean model.heads?"]
    told.append("root(model).resnet: the app's config has no key lrr there (did you mean lr?")
    assert_told(project.sweep(project.tree({"root": tree})), "2 faults:", *told)


def test_a_key_of_the_command_line_is_told_to_stand_there(project):
    outcome = project.sweep("hydra.sweeper.ledger=dahps/train", "model=vit", "no_such_key=1,2")
    assert_told(outcome, "command line: the app's config has no key no_such_key")


def test_what_the_config_has_only_in_some_combinations_is_not_refused(project):
    """Keys of an option that is chosen, added ones, those of a package, and deleted ones."""
    package = level(
        "dataset@definitions.mnist", ["full", "low_res"], level("definitions.mnist.resolution", [3])
    )
    vit = level("model.heads", [2, 4], level("+new.key", [1], package))
    tree = {"root": level("model", ["vit", "resnet"], None, vit=vit), "common": {"~seed": None}}
    outcome = project.sweep(project.tree(tree))
    assert outcome.code == 0, outcome.output
    assert len(project.configs()) == 5


def test_a_large_space_is_not_composed_as_a_whole(project):
    """Keys and options decide what composes: a thousand values of one key need one look."""
    tree = {"root": level("lr", list(range(5000)), level("model", ["vit"]))}
    outcome = project.sweep(project.tree(tree), "hydra.sweeper.max_trials=1")
    assert outcome.code == 0, outcome.output


SEARCH = "# @package _global_\nhydra: {sweeper: {search: %s}}\n"


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (
            '{root: {key: lr, values: [1, 2], default: {key: +y, values: [0, "${lr}"], default: null}}}',
            ['root(lr).default.values[1]: "${lr}"', "each trial sets lr", r"write \${lr}"],
        ),
        (
            '{root: {key: lr, values: [1], default: null}, common: {+y: "a${seed}-${oc.select:lr,3}"}}',
            ["common.+y", "each trial sets lr", r"write a\${seed}-\${oc.select:lr,3}"],
        ),
        (
            '{root: {key: +y, values: ["${model.heads}"], default: {key: model, values: [vit], default: }}}',
            ["root.values[0]", "each trial sets model", r"\${model.heads}"],
        ),
        (
            '{root: {key: lr, values: [1], default: {key: +y, values: ["${twice}"], default: null}}}',
            ['root(lr).default.values[0]: "${twice}"', "each trial sets lr", r"\${twice}"],
        ),
        (
            '{root: {key: lr, values: [1], default: "${subtree}"}}',
            ['root(lr).default.values[0]: "${lr}"', r"write \${lr}"],
        ),
    ],
)
def test_a_reference_to_what_trials_set_is_refused(project, tree, words):
    project.edit("conf/config.yaml", "model: ???", "model: vit")
    below = '\ntwice: "${lr}"\nsubtree: {key: +z, values: ["${lr}"], default: null}\n'
    project.edit("conf/config.yaml", "lr: 0.1\n", f"lr: 0.1{below}")
    project.write("conf/experiment/refers.yaml", SEARCH % tree)
    assert_told(project.sweep("+experiment=refers"), "1 fault:", *words)
    assert not project.ledger.exists()


def test_what_is_written_instead_is_resolved_by_each_trial(project):
    tree = r"{root: {key: lr, values: [1, 2], default: {key: +y, values: ['\${lr}'], default: null}}}"
    project.write("conf/experiment/refers.yaml", SEARCH % tree)
    outcome = project.sweep("+experiment=refers", "model=vit")
    assert outcome.code == 0, outcome.output
    assert sorted((config["lr"], config["y"]) for config in project.configs()) == [(1, 1), (2, 2)]


def test_a_reference_to_what_no_trial_changes_is_resolved_when_the_search_starts(project):
    """A key's own value in the base config, one that is fixed on the command line, and any other key."""
    tree = (
        '{root: {key: lr, values: ["${lr}", 5], default: {key: +y, values: ["${seed}${x}"], default: null}}}'
    )
    project.edit("conf/config.yaml", "lr: 0.1", "lr: 0.1\nx: 0")
    project.write("conf/experiment/refers.yaml", SEARCH % tree)
    outcome = project.sweep("+experiment=refers", "model=vit", "x=7", "seed=3")
    assert outcome.code == 0, outcome.output
    assert sorted((config["lr"], config["y"]) for config in project.configs()) == [(0.1, "37"), (5, "37")]
