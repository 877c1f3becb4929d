"""A sweep over values that mean something to a shell, to SQL, to a path, to HTML, to YAML or to Hydra."""

import re

import pytest
import yaml

from dahps_core.model.combination import canonical
from dahps_core.space.overrides import to_overrides

VALUES = [
    "'; DROP TABLE trial; --",
    "$(touch pwned); `touch pwned` && touch pwned #",
    "../../pwned",
    "/tmp/pwned",
    "a\0b",
    "n" * 5000,
    "<script>alert(1)</script>&amp;",
    "\x1b]0;title\a\r\n\tend",
    "x=1,2 [a] {b: c} ~ !!python/object:os.system",
    "%s %(asctime)s {0} :smile:",
    "größer 🙂 \u202e",
    "",
    "null",
    "1e3",
    None,
    True,
    10**400,
    float("nan"),
    float("-inf"),
    -0.0,
    ["../x", {"k": "'\"\\"}, [[]]],
    {"../x y": [1, 1.0, "1"]},
]

TREE = {"root": {"key": "y", "values": VALUES, "default": {"key": "x", "values": [1], "default": None}}}

#: All that a sweep may name: what is Hydra's own, and numbers.
NAMES = re.compile(
    r"\d+|workers|[0-9a-f]{8}-\d+|\.hydra|(config|hydra|overrides|multirun|optimization_results)\.yaml"
    r"|recorder\.log|ledger\.(db(-journal)?|gate)|heartbeats|checkpoints|configs(\.json)?|[0-9a-f]{16}(\.json)?|commands|runs|[0-9a-f]{8}\.json"
    r"|\.dahps|owner-[0-9a-f]{8}\.json|sources-[0-9a-f]{16}\.json"
)


def test_hostile_values_arrive_unchanged_and_never_become_names(app):
    before = set(app.folder.parent.rglob("*"))
    outcome = app.sweep(app.tree(TREE), "hydra.sweeper.strategy.name=grid")
    assert outcome.code == 0, outcome.output
    assert "Traceback" not in outcome.output
    assert "Logging error" not in outcome.output
    trials = app.trials()
    assert [trial["state"] for trial in trials] == ["finished"] * len(VALUES)
    for value, trial in zip(VALUES, trials, strict=True):
        # An export is strict JSON, which has no NaN and no infinities.
        assert trial["combination"]["y"] == (str(value) if isinstance(value, float) and value != 0 else value)
        config = yaml.safe_load((outcome.folder / str(trial["number"]) / ".hydra/config.yaml").read_text())
        assert canonical(config["y"]) == canonical(value)
    made = set(app.folder.parent.rglob("*")) - before
    inside = {path for path in made if path.is_relative_to(outcome.folder) or path.is_relative_to(app.ledger)}
    strange = {path.name for path in inside - {outcome.folder, app.ledger} if not NAMES.fullmatch(path.name)}
    assert not strange
    beside = {path.name for path in made - inside if "__pycache__" not in path.parts}
    assert beside == {"tree.py", "record.txt", "output1.txt", "dahps"}
    assert app.status()["trials"]["finished"] == len(VALUES)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("../../x:config", "module:attribute"),
        (".:x", "module:attribute"),
        ("a..b:c", "module:attribute"),
        ("a b:c", "cannot import 'a b'"),
        ("os:getcwd()", "has no 'getcwd()'"),
    ],
)
def test_a_place_that_python_cannot_name_is_refused(app, reference, told):
    outcome = app.sweep(*to_overrides({"hydra.sweeper.search": reference}))
    assert outcome.code == 1
    assert "Traceback" not in outcome.output
    assert told in outcome.output
    assert not app.ledger.exists()


def test_common_that_is_no_mapping_is_a_fault_of_the_tree(app):
    outcome = app.sweep(app.tree({"root": None, "common": [1]}), "x=1")
    assert outcome.code == 1
    assert "Traceback" not in outcome.output
    assert "common: [1] is not a mapping" in outcome.output


DEEP_TREE = """
config = {"root": {"key": "x", "values": [1], "default": None}}
for level in range(500):
    config = {"root": {"key": f"+deep.k{level}", "values": [0, 1], "default": config["root"]}}
"""


def test_a_tree_of_500_levels_is_searched(app):
    (app.folder / "tree.py").write_text(DEEP_TREE)
    outcome = app.sweep("hydra.sweeper.search=tree:config", "hydra.sweeper.max_trials=2")
    assert outcome.code == 0, outcome.output
    assert [len(trial["combination"]) for trial in app.trials()] == [502, 502]  # with x and the record
    assert app.status()["space_size"] == 2**500
