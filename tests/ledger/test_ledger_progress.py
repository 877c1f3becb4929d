"""What is done, what is left, and the budget: by any limits, and at any moment."""

import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import claim_all, claimed, fail, finish, levelled, register, release

from dahps_core.ledger import Ledger, Search
from dahps_core.ledger.folder.run_limits import RunLimits
from dahps_core.ledger.progress import ProgressReader
from dahps_core.model.records import Claim, Draw
from dahps_core.space import SearchSpace

#: Two branches of different sizes.
TREE = {
    "key": "model",
    "values": ["vit", "cnn"],
    "vit": {"key": "size", "values": [1, 2, 3], "default": None},
    "cnn": {"key": "size", "values": [1, 2], "default": None},
}
WIDER = {**TREE, "vit": {"key": "size", "values": [1, 2, 3, 4], "default": None}}


def search_of(tree, **options):
    return Search(SearchSpace.from_config({"root": tree}), "grid", seed=0, **options)


def read(ledger, **limits):
    return ProgressReader(ledger).read([RunLimits(**limits)])


def figures(progress):
    return progress.done, progress.left, progress.budget


@pytest.fixture
def ledger(folder):
    with Ledger.join(folder, search_of(TREE)) as ledger:
        yield ledger


def test_all_that_is_over_is_done_and_all_that_may_run_is_left(ledger):
    worker = register(ledger)
    assert figures(read(ledger)) == (0, 5, 5)
    assert figures(read(ledger, max_trials=3)) == (0, 3, 3)
    finish(ledger, claimed(ledger, worker))
    fail(ledger, claimed(ledger, worker))
    release(ledger, claimed(ledger, worker))
    assert figures(read(ledger, max_attempts=1)) == (2, 3, 5)
    assert figures(read(ledger, max_attempts=2)) == (1, 4, 5)
    ledger.cancel(2)
    assert figures(read(ledger, max_attempts=2)) == (2, 3, 5)
    assert str(read(ledger, max_attempts=2)) == "2/5 trials"


def test_of_a_branch_only_its_trials_count(ledger, folder):
    worker = register(ledger)
    for claim in claim_all(ledger, worker, max_trials=4)[0]:
        finish(ledger, claim)
    progress = read(ledger, only={"model": "cnn"})
    assert figures(progress) == (1, 1, 2)
    assert sum(progress.counts.values()) == 1
    with Ledger.join(folder, search_of(TREE), only={"model": "cnn"}) as branch:
        assert figures(read(branch, only={"model": "cnn"})) == (1, 1, 2)
        finish(branch, claimed(branch, register(branch)))
        assert figures(read(branch, only={"model": "cnn"})) == (2, 0, 2)
    assert figures(read(ledger)) == (5, 0, 5)


def test_several_branches_count_together(ledger):
    limits = [RunLimits(only={"model": "cnn"}), RunLimits(only={"model": "vit"}, max_trials=3)]
    assert figures(ProgressReader(ledger).read(limits)) == (0, 5, 5)


def test_after_an_extension_what_was_run_before_is_done_once(ledger, folder):
    for claim in claim_all(ledger, register(ledger), max_trials=3)[0]:
        finish(ledger, claim)
    with Ledger.join(folder, search_of(WIDER), on_change="extend") as wider:
        seen = ProgressReader(wider)
        assert figures(seen.read([RunLimits()])) == (3, 3, 6)
        worker = register(wider)
        for n_more in range(1, 4):
            finish(wider, claimed(wider, worker))
            assert figures(seen.read([RunLimits()])) == (3 + n_more, 3 - n_more, 6)


def test_what_a_person_asked_for_is_not_counted_twice(ledger):
    ledger.enqueue([{"model": "cnn", "size": 2}])
    assert figures(read(ledger)) == (0, 5, 5)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_it_is_a_plain_count_at_any_moment(data):
    limits = RunLimits(
        max_trials=data.draw(st.none() | st.integers(1, 7)),
        max_attempts=data.draw(st.integers(1, 2)),
        only=data.draw(st.sampled_from([None, {"model": "vit"}, {"model": ["vit", "cnn"]}])),
    )
    with tempfile.TemporaryDirectory() as folder:
        before = Ledger.join(folder, search_of(TREE))
        for claim in claim_all(before, register(before), max_trials=data.draw(st.integers(1, 5)))[0]:
            data.draw(st.sampled_from([finish, fail, release]))(before, claim)
        before.close()
        with Ledger.join(folder, search_of(WIDER), only=limits.only, on_change="extend") as ledger:
            walk(data, ledger, limits)


def walk(data, ledger, limits):
    """Run the search to its end; at each step, what is shown is what a look at all trials gives."""
    seen, worker, last = ProgressReader(ledger), register(ledger), 0
    while True:
        progress = seen.read([limits])
        assert figures(progress) == figures(ProgressReader(ledger).read([limits]))
        assert progress.done >= last
        last = progress.done
        trials = [one for one in ledger.trials() if is_counted(one, limits)]
        assert sum(progress.counts.values()) == len(trials)
        assert progress.running == sum(one.state.value == "running" for one in trials) == 0
        draw = ledger.claim(
            worker,
            max_trials=limits.max_trials,
            max_attempts=limits.max_attempts,
            stop_after_failures=None,
        )
        assert (draw is Draw.EXHAUSTED) == (progress.left == 0)
        if not isinstance(draw, Claim):
            assert progress.done == len(trials)
            return
        held = seen.read([limits])
        assert (held.budget, held.running) == (progress.budget, 1)
        data.draw(st.sampled_from([finish, fail]))(ledger, draw)


def is_counted(trial, limits):
    return limits.only != {"model": "vit"} or trial.combination["model"] == "vit"


@settings(max_examples=20, deadline=None)
@given(data=st.data(), limit=st.none() | st.integers(1, 40))
def test_with_rungs_it_is_resource(data, limit):
    limits = RunLimits(max_trials=data.draw(st.integers(1, 9)), max_attempts=1, max_resource_total=limit)
    with tempfile.TemporaryDirectory() as folder, Ledger.join(folder, levelled()) as ledger:
        seen, worker, used, last = ProgressReader(ledger), register(ledger), 0, -1
        while True:
            progress = seen.read([limits])
            assert progress.unit == "resource"
            assert progress.done == used >= last
            assert limit is None or progress.budget <= limit
            draw = ledger.claim(
                worker,
                max_trials=limits.max_trials,
                max_attempts=1,
                stop_after_failures=None,
                max_resource_total=limit,
            )
            assert (draw is Draw.EXHAUSTED) == (progress.left == 0)
            if not isinstance(draw, Claim):
                return
            cost = ledger.search.brackets.cost_of(draw.number, draw.level)
            assert seen.read([limits]).running == cost
            finish(ledger, draw, metric=data.draw(st.integers(0, 3)))
            used, last = used + cost, used


def test_the_expected_promotions_are_in_the_budget(folder):
    search = levelled()
    with Ledger.join(folder, search) as ledger:
        n = search.brackets.sizes[0]
        first = read(ledger, max_trials=n)
        costs = [search.brackets.cost(0, level) for level in range(search.brackets.top + 1)]
        eta = search.brackets.eta
        assert first.budget == sum(n // eta**level * cost for level, cost in enumerate(costs))


def test_a_branch_that_the_space_has_no_more_counts_as_the_whole(ledger):
    gone = ProgressReader(ledger).read([RunLimits(only={"model": "gone"})])
    assert gone.n_left == 5
