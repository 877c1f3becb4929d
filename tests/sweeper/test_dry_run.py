"""A dry run tells what a multirun would be and every error that it would meet, and does nothing."""

import pytest

TREE = {
    "root": {
        "key": "x",
        "values": [1, 2, 3],
        1: {"key": "y", "values": ["a", "b"], "default": None},
        "default": {"key": "behaviour", "values": ["normal", "raise"], "default": None},
    }
}
FAULTY = {
    "root": {
        "key": "x",
        "values": [1, 2, 3],
        1: {"key": "yy", "values": ["a", "b"], "default": None},
        "default": {
            "key": "hydra.job.chdir",
            "values": [True, "nonsense"],
            "default": {"key": "zz", "values": [1, 2], "default": None},
        },
    }
}


def files(app):
    return sorted(path.name for path in app.folder.rglob("*") if path.is_file())


def dry(app, tree, *overrides):
    search = app.tree(tree)
    before = files(app)
    outcome = app.sweep(
        search, "hydra.sweeper.dry_run=true", *overrides, env={"PYTHONDONTWRITEBYTECODE": "1"}
    )
    assert "Traceback" not in outcome.output
    assert sorted({*files(app)} - {"output1.txt", "output2.txt"}) == before, "it has written something"
    return outcome


def test_it_tells_what_would_be_run_and_runs_nothing(app):
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu", "hydra.sweeper.n_workers=9"]
    outcome = dry(app, TREE, *launcher, "hydra.sweeper.strategy.name=grid")
    assert outcome.code == 0, outcome.output
    for words in (
        "6 combinations",
        "Composed: 4 combinations",
        "x=1 y=b",
        "Workers: 9, in 1 job array of SLURM",
        "hydra.launcher.partition=gpu",
        f"{app.ledger} will be created",
    ):
        assert words in outcome.output, outcome.output
    assert not app.runs()


def test_every_error_is_told_with_its_place(app):
    outcome = dry(app, FAULTY)
    assert outcome.code == 1
    for words in (
        "3 faults",
        "root(x).1: the app's config has no key yy there (did you mean y?",
        "root(x).3: hydra.job.chdir=nonsense does not compose",
        "root(x).2(hydra.job.chdir).true: the app's config has no key zz",
        "Nothing was run",
    ):
        assert words in outcome.output, outcome.output


def test_it_tells_what_the_ledger_has_already(app):
    app.sweep(app.tree(TREE))
    before = app.trials()
    outcome = app.sweep(app.tree(TREE), "hydra.sweeper.dry_run=true")
    assert "has 6 trials already" in outcome.output, outcome.output
    assert app.trials() == before


@pytest.mark.parametrize(
    ("on_change", "code", "words"), [("refuse", 1, "on_change=extend"), ("extend", 0, "will be extended")]
)
def test_a_changed_space_is_refused_or_announced(app, on_change, code, words):
    app.sweep("x=1,2")
    outcome = app.sweep("x=1,2,3", "hydra.sweeper.dry_run=true", f"hydra.sweeper.on_change={on_change}")
    assert (outcome.code, len(app.trials())) == (code, 2)
    assert words in outcome.output, outcome.output


def test_one_branch_alone_is_composed(app):
    outcome = dry(app, FAULTY, "hydra.sweeper.only={x: 1}")
    assert "1 fault:" in outcome.output, outcome.output
    assert "root(x).1: the app's config has no key yy" in outcome.output


def test_it_says_beforehand_what_takes_a_while(app):
    outcome = dry(app, {"root": {"key": "x", "values": list(range(60)), "default": None}})
    assert outcome.output.index("Composing 60 combinations") < outcome.output.index("Composed: 60")
