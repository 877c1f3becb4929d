"""Overrides that only say how to run, and the order of values, are no part of a search."""

import pytest

from dahps_core.ledger import Ledger, Search
from dahps_core.space import SearchSpace

CLUSTER = """
# @package _global_
hydra: {job: {env_set: {CLUSTER: NAME}}}
"""
TREE = "{root: {key: lr, values: [1], default: null}}"
SEARCH = """
# @package _global_
hydra: {sweeper: {search: {root: {key: model, values: [vit, resnet], default: null}}}}
"""


def assert_told(outcome, *words):
    assert outcome.code == 1, outcome.output
    assert "Traceback" not in outcome.output
    for word in words:
        assert word in outcome.output, outcome.output


@pytest.fixture
def clusters(project):
    project.edit("conf/config.yaml", "lr: 0.1", "lr: 0.1\ndata_dir: /data\ncluster: ${oc.env:CLUSTER,none}")
    for name in ("a", "b"):
        project.write(f"conf/cluster/{name}.yaml", CLUSTER.replace("NAME", name).lstrip())
    project.write("conf/tree/both.yaml", SEARCH.lstrip())
    return project


def combinations(project):
    with Ledger.open(project.ledger) as ledger:
        return [dict(trial.combination) for trial in ledger.trials()]


def searched(project):
    """The keys of all combinations; that of the test's own file aside."""
    return {key for one in combinations(project) for key in one} - {"record"}


def test_a_config_with_nothing_but_hydra_is_no_part_of_a_combination(clusters):
    first = clusters.sweep("+cluster=a", "model=vit,resnet", "hydra.sweeper.max_trials=1")
    assert first.code == 0, first.output
    second = clusters.sweep("+cluster=b", "model=vit,resnet")
    assert second.code == 0, second.output
    assert [config["cluster"] for config in clusters.configs()] == ["a", "b"]
    assert sorted(one["model"] for one in combinations(clusters)) == ["resnet", "vit"]
    assert searched(clusters) == {"model"}


# What the files of two options of a config group say, beside what they set in `hydra`.
@pytest.mark.parametrize(
    ("says", "is_searched"),
    [
        ("defaults: [_self_]", False),
        ("defaults: [/cluster: a]", False),
        ("defaults: [/cluster: a, _self_, override /hydra/job_logging: default]", False),
        ("defaults: [override /model: resnet]", True),
        ("defaults: [/model@other: resnet]", True),
        ("lr: 0.5", True),
    ],
)
def test_what_its_defaults_list_brings_in_counts(clusters, says, is_searched):
    clusters.edit("conf/config.yaml", "model: ???", "model: vit")
    for name in ("c", "d"):
        clusters.write(f"conf/place/{name}.yaml", f"{CLUSTER.replace('NAME', name).lstrip()}{says}")
    for name in ("c", "d"):
        outcome = clusters.sweep(f"+place={name}", "lr=1,2", "hydra.sweeper.max_trials=1")
        if is_searched and name == "d":
            assert_told(outcome, "place")
        else:
            assert outcome.code == 0, outcome.output
    assert searched(clusters) == ({"lr", "+place"} if is_searched else {"lr"})


def test_an_option_whose_file_is_empty_is_searched(clusters):
    clusters.edit("conf/config.yaml", "model: ???", "model: vit")
    clusters.write("conf/place/none.yaml", "")
    assert clusters.sweep("+place=none", "lr=1").code == 0
    assert searched(clusters) == {"lr", "+place"}


def test_folders_are_not_named_by_it(clusters):
    outcome = clusters.sweep(
        "+cluster=a",
        "data_dir=/a",
        "model=vit",
        "lr=1,2",
        "hydra.sweeper.not_searched=[data_dir]",
        "hydra.job.config.override_dirname.exclude_keys=[record]",
        "hydra.sweep.subdir='${hydra.job.override_dirname}'",
    )
    assert outcome.code == 0, outcome.output
    folders = {path.name for path in outcome.folder.iterdir() if path.is_dir()}
    assert folders >= {"lr=1,model=vit", "lr=2,model=vit"}
    assert not [name for name in folders if "data_dir" in name or "cluster" in name]


def test_the_config_that_selects_the_tree_is_none_either(clusters):
    outcome = clusters.sweep("+tree=both")
    assert outcome.code == 0, outcome.output
    assert searched(clusters) == {"model"}
    assert len(clusters.configs()) == 2


def test_keys_that_a_person_lists_may_differ_between_multiruns(clusters):
    listed = "hydra.sweeper.not_searched=[data_dir]"
    first = clusters.sweep(listed, "data_dir=/a", "model=vit,resnet", "hydra.sweeper.max_trials=1")
    assert first.code == 0, first.output
    clusters.edit("conf/config.yaml", "data_dir: /data", "data_dir: /elsewhere")
    second = clusters.sweep(listed, "data_dir=/b", "model=vit,resnet")
    assert second.code == 0, second.output
    assert [config["data_dir"] for config in clusters.configs()] == ["/a", "/b"]
    assert searched(clusters) == {"model"}
    folders = sorted(path.name for path in second.folder.iterdir() if path.is_dir())
    assert not any("data_dir" in name for name in folders)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["hydra.sweeper.not_searched=[data_dri]"], ["data_dri", "not_searched"]),
        (["hydra.sweeper.not_searched=data_dir"], ["not a list of keys"]),
        (["hydra.sweeper.not_searched=[data_dir]", "data_dir=/a,/b"], ["data_dir=/a,/b sweeps over"]),
        (
            [
                "hydra.sweeper.not_searched=[lr]",
                "hydra.sweeper.search={root: {key: lr, values: [1], default: null}}",
            ],
            ["lr is in"],
        ),
    ],
)
def test_a_mistake_in_the_list_is_told(clusters, words, told):
    assert_told(clusters.sweep("model=vit", *words), *told)
    assert not clusters.ledger.exists()


def test_what_an_older_version_took_for_searched_stays_so(clusters):
    """Its ledger has the override in each combination: the same command goes on with it."""
    clusters.sweep("+cluster=a", "model=vit,resnet", "hydra.sweeper.max_trials=1")
    with Ledger.open(clusters.ledger) as ledger:
        search = ledger.search
    clusters.ledger.rename(clusters.folder / "new")
    definition = search.space.definition()
    nodes, record = definition["nodes"], definition["nodes"][definition["root"]]
    cluster = {"key": "+cluster", "values": ["a"], "children": record["children"]}
    older = definition | {
        "nodes": [*nodes, cluster, record | {"children": [len(nodes)]}],
        "root": len(nodes) + 1,
    }
    Ledger.join(clusters.ledger, Search(SearchSpace.from_definition(older))).close()
    outcome = clusters.sweep("+cluster=a", "model=vit,resnet")
    assert outcome.code == 0, outcome.output
    assert all(one["+cluster"] == "a" for one in combinations(clusters))


@pytest.mark.parametrize("again", ["x=3,1,2", "x=shuffle(1,2,3)"])
def test_the_order_of_values_is_no_part_of_a_random_search(app, again):
    random = "hydra.sweeper.strategy.name=random"
    assert app.sweep("x=1,2,3", random, "hydra.sweeper.max_trials=1").code == 0
    outcome = app.sweep(again, random)
    assert outcome.code == 0, outcome.output
    assert sorted(trial["combination"]["x"] for trial in app.trials()) == [1, 2, 3]
    assert_told(app.sweep("x=1,2,4", random), "values added: 4", "values removed: 3")


def test_the_order_of_values_is_a_part_of_a_grid(app):
    grid = "hydra.sweeper.strategy.name=grid"
    assert app.sweep("x=1,2,3", grid, "hydra.sweeper.max_trials=1").code == 0
    assert_told(app.sweep("x=3,1,2", grid), "values in another order")
