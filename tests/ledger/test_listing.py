"""Listings and the best trials: as sorting all records would have them, but read from an index."""

import math
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ledger_support import (
    ask,
    claim_all,
    fail,
    fill,
    fill_rungs,
    finish,
    levelled,
    register,
    release,
    space_of,
)

from dahps_core.ledger import FILE_NAME, Ledger, Search
from dahps_core.ledger.repair.check import violations
from dahps_core.ledger.sqlite.database import _QUERIES
from dahps_core.ledger.views.listing import Choice
from dahps_core.model.combination import canonical
from dahps_core.model.records import Claim, TrialState
from dahps_core.space import SearchSpace
from dahps_core.strategies.brackets import Brackets
from tests import large_ledgers, synthetic

#: Values whose texts contain each other, that are equal in Python, or that JSON can write in two ways.
VALUES = (
    1,
    16,
    "1",
    "16",
    True,
    1.0,
    -0.0,
    0.0,
    None,
    "é\n",
    [1, 6],
    {"b": 1, "a": 2},
    {"a": [1]},
    '"x": 1',
    1e300,
)
OUTCOMES = st.sampled_from(["failed", "released", "running", "lost"]) | st.one_of(
    st.none(), st.floats(), st.integers(-2, 2).map(float)
)


def rank(trial, sign):
    """By looking at one record: its highest level with a score, the score, and its number."""
    levels = trial.metrics or {0: trial.metric}
    scores = [
        (-level, sign * one) for level, one in levels.items() if one is not None and not math.isnan(one)
    ]
    return (*min(scores), trial.number) if scores else None


def ranked_in_python(ledger, choice=lambda trial: True):
    sign = 1 if ledger.search.direction == "minimize" else -1
    found = [(rank(trial, sign), trial) for trial in ledger.trials() if choice(trial)]
    return [trial for place, trial in sorted(one for one in found if one[0] is not None)]


def end(ledger, claim, outcome):
    if outcome == "failed":
        fail(ledger, claim)
    elif outcome == "lost":
        ledger.lose_if_held(claim, error="gone", output_dir=None)
    elif outcome == "released":
        release(ledger, claim)
    elif outcome != "running":
        ledger.finish_if_held(claim, result=outcome, metric=outcome, output_dir=None)


@settings(max_examples=30, deadline=None)
@given(
    outcomes=st.lists(OUTCOMES, min_size=len(VALUES), max_size=len(VALUES)),
    direction=st.sampled_from(["minimize", "maximize"]),
    state=st.none() | st.sampled_from(TrialState),
    values=st.sets(st.sampled_from(range(len(VALUES)))),
)
@example([1.0] * len(VALUES), "maximize", None, {0})
@example([math.inf, -math.inf, math.nan, None] + [0.0] * (len(VALUES) - 4), "maximize", None, set())
def test_a_listing_is_that_of_all_records_sorted(outcomes, direction, state, values):
    texts = frozenset(canonical(VALUES[value]) for value in values)

    def is_chosen(trial):
        return state in (None, trial.state) and (not texts or canonical(trial.combination["x"]) in texts)

    choice = Choice(state, {"x": texts} if texts else {})
    search = Search(space_of(*VALUES), "grid", direction)
    with tempfile.TemporaryDirectory() as folder, Ledger.join(folder, search) as ledger:
        claims, _ = claim_all(ledger, register(ledger))
        for claim, outcome in zip(claims, outcomes, strict=True):
            end(ledger, claim, outcome)
        expected = [repr(trial) for trial in ranked_in_python(ledger, is_chosen)]
        assert [repr(trial) for trial in ledger.listed(choice, best_first=True)] == expected
        assert list(map(repr, ledger.listed(choice))) == [
            repr(trial) for trial in ledger.trials() if is_chosen(trial)
        ]
        every = list(map(repr, ranked_in_python(ledger)))
        for limit in (1, 3, 2 * len(VALUES)):
            assert list(map(repr, ledger.best_trials(limit))) == every[:limit]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_pages_go_on_where_the_last_one_ended_also_among_ties(tmp_path, monkeypatch, direction):
    monkeypatch.setattr("dahps_core.ledger.views.trial_rows.TRIALS_PER_PAGE", 2)
    with Ledger.join(tmp_path, Search(space_of(*range(9)), "grid", direction)) as ledger:
        claims, _ = claim_all(ledger, register(ledger))
        for claim, metric in zip(claims, (2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 2.0, math.inf), strict=True):
            finish(ledger, claim, metric)
        listed = [trial.number for trial in ledger.listed(Choice(), best_first=True)]
        assert listed == [trial.number for trial in ranked_in_python(ledger)]


@settings(max_examples=20, deadline=None)
@given(
    outcomes=st.lists(OUTCOMES.filter(lambda one: one != "running"), min_size=30, max_size=30),
    direction=st.sampled_from(["minimize", "maximize"]),
)
def test_with_levels_the_highest_counts_and_of_equals_the_earlier_end(outcomes, direction):
    search = levelled(12, direction, "asha", max_resource=9)
    ends = []
    with tempfile.TemporaryDirectory() as folder, Ledger.join(folder, search) as ledger:
        worker = register(ledger)
        for outcome in outcomes:
            if not isinstance(claim := ask(ledger, worker, max_attempts=1), Claim):
                break
            end(ledger, claim, outcome)
            ends.append((claim.number, claim.level))
        sign = 1 if direction == "minimize" else -1
        found = {trial.number: (rank(trial, sign), trial) for trial in ledger.trials()}
        order = sorted(
            (*place[:2], max(at for at, one in enumerate(ends) if one == (number, -place[0])), number)
            for number, (place, _) in found.items()
            if place is not None
        )
        numbers = [number for *_, number in order]
        assert [trial.number for trial in ledger.listed(Choice(), best_first=True)] == numbers
        best = ledger.best_trials(5)
        assert [trial.number for trial in best] == numbers[:5]
        assert [(-trial.level, sign * trial.metric) for trial in best] == [one[:2] for one in order[:5]]
        assert ledger.best() == (best[0] if best else None)


def plan(folder, query, **parameters):
    """How SQLite would answer a query, a line for each step."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {_QUERIES[query]}", parameters)]


@pytest.mark.parametrize(
    "query", ["ranked_lowest", "ranked_highest", "ranked_at_level", "numbers_of_unfinished"]
)
def test_the_order_comes_from_an_index(tmp_path, query):
    Ledger.join(tmp_path, levelled(9)).close()
    known = {"number": 0, "metric": 0.0, "level": 0, "score": 0.0, "place": 0, "limit": 5, "states": "[]"}
    steps = plan(tmp_path, query, **known)
    assert not [step for step in steps if "TEMP B-TREE" in step or step in ("SCAN trial", "SCAN standing")]
    assert [step for step in steps if "INDEX" in step]


def answers(folder):
    """The small answers, each of which was once found by reading all trials."""
    with Ledger.open(folder) as ledger:
        yield ledger.best()
        yield ledger.best_trials(5)
        trials = ledger.listed(Choice(), best_first=True)
        yield next(trials)
        trials.close()
        yield list(ledger.listed(Choice(TrialState.RUNNING)))
        yield ledger.trials_among([3])
        yield ledger.finished_beyond_best([1, 2, 3], 2)


def steps_of_answers(folder, monkeypatch):
    """The steps of SQLite's virtual machine that each answer takes."""
    counted = Counter()
    connect = sqlite3.connect

    def counting(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_progress_handler(lambda: counted.update(["steps"]), 1)
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", counting)
        steps = []
        for _ in answers(folder):
            steps.append(counted["steps"])
            counted.clear()
    return steps


@pytest.mark.parametrize("kind", ["minimize", "maximize", "levels"])
def test_small_answers_cost_the_same_among_many_trials(tmp_path, monkeypatch, kind):
    search = levelled(9, strategy="asha") if kind == "levels" else Search(space_of(1), "grid", kind)
    steps = []
    for n_trials in (2_000, 20_000):
        folder = tmp_path / str(n_trials)
        Ledger.join(folder, search).close()
        if search.brackets:
            fill_rungs(folder, n_trials, search.brackets)
        else:
            fill(folder, n_trials, "finished")
        steps.append(steps_of_answers(folder, monkeypatch))
    for answer, (few, many) in enumerate(zip(*steps, strict=True)):
        assert many <= 1.1 * few + 50, answer


def test_the_best_means_are_found_without_reading_all_trials(tmp_path, monkeypatch):
    config = {**synthetic.seeds_space().definition(), "repetitions": 3}
    search = Search(SearchSpace.from_definition(config), seed=1)
    steps = []
    for n_trials in (2_000, 20_000):
        large_ledgers.fill(tmp_path / str(n_trials), search, n_trials)
        steps.append(sum(steps_of_answers(tmp_path / str(n_trials), monkeypatch)[:2]))
    assert steps[1] <= 3 * steps[0]


@pytest.mark.parametrize("kind", ["plain", "repetitions", "levels"])
def test_a_large_ledger_is_sound(tmp_path, kind):
    space = synthetic.seeds_space() if kind != "repetitions" else space_of(*range(300), repetitions=3)
    search = Search(space, seed=1)
    if kind == "levels":
        search = Search(space, "hyperband", seed=1, brackets=Brackets.of(max_resource=9))
    large_ledgers.fill(tmp_path / "ledger", search, 600)
    assert list(violations(tmp_path / "ledger")) == []
    with Ledger.open(tmp_path / "ledger") as ledger:
        assert ledger.n_drawn == 600
        assert ledger.best() is not None
