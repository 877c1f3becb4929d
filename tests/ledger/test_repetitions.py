"""The best of combinations that are evaluated several times, held against a small model."""

import math
import statistics
import tempfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ledger_support import claim_all, claimed, fail, finish, grid, record, register, release, space_of

from dahps_core.errors import ConfigurationError
from dahps_core.ledger import Ledger, Search
from dahps_core.ledger.views.repetitions import LeftOut
from dahps_core.model.records import Average
from dahps_core.strategies.brackets import Brackets

#: What may come of one evaluation; the last two are still to come.
OUTCOMES = st.sampled_from(["failed", "released", "running"]) | st.one_of(
    st.none(), st.floats(), st.floats(-10, 10), st.integers(-3, 3).map(float)
)


#: For good, in these tests; the ledger does not know it.
MAX_ATTEMPTS = 1


def ranked_by_model(values, repetitions, direction, outcomes, *, incomplete=False):
    """(number, metrics) of the combinations, the best first, by looking at all."""
    sign = 1 if direction == "minimize" else -1
    found = []
    for combination in range(len(values)):
        first = combination * repetitions
        those = outcomes[first : first + repetitions]
        metrics = {first + i: one for i, one in enumerate(those) if is_metric(one)}
        if not metrics or not (incomplete or len(metrics) == repetitions):
            continue
        mean = statistics.mean(metrics.values())
        if not math.isnan(mean):
            best = min(metrics, key=lambda number: (sign * metrics[number], number))
            found.append((sign * mean, sign * metrics[best], best, list(metrics.values())))
    return [one[2:] for one in sorted(found)]


def is_metric(outcome):
    return isinstance(outcome, float) and not math.isnan(outcome)


def left_out_by_model(values, repetitions, outcomes):
    """How many combinations are unfinished, failed, unmeasured."""
    counts = [0, 0, 0]
    for combination in range(len(values)):
        those = outcomes[combination * repetitions :][:repetitions]
        if {"released", "running"} & set(those):
            counts[0] += 1
        elif "failed" in those:
            counts[1] += 1
        elif not all(map(is_metric, those)) or math.isnan(statistics.mean(those)):
            counts[2] += 1
    return LeftOut(*counts)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), repetitions=st.integers(2, 4), direction=st.sampled_from(["minimize", "maximize"]))
@pytest.mark.parametrize("values", ["abcde", "abaac"], ids=["unique", "repeated"])
def test_the_best_mean_is_that_of_a_model(values, data, repetitions, direction):
    space = space_of(*values, repetitions=repetitions, check_unique=False)
    n_trials = len(values) * repetitions
    outcomes = data.draw(st.lists(OUTCOMES, min_size=n_trials, max_size=n_trials))
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger.join(folder, Search(space, "grid", direction)) as ledger,
    ):
        claims, _ = claim_all(ledger, register(ledger))
        for claim, outcome in zip(claims, outcomes, strict=True):
            end(ledger, claim, outcome)
        best = ledger.best()
        ranked = ranked_by_model(values, repetitions, direction, outcomes)
        incomplete = ranked_by_model(values, repetitions, direction, outcomes, incomplete=True)
        assert ledger.left_out() == left_out_by_model(values, repetitions, outcomes)
        found = ledger.best_trials(n_trials, incomplete=True)
        assert [one.number for one in found] == [number for number, _ in incomplete]
        assert [one.average.n for one in found] == [len(metrics) for _, metrics in incomplete]
        assert (best and best.number) == (ranked[0][0] if ranked else None)
        for n_best in (0, 1, 2, n_trials):
            kept = {number // repetitions for number, _ in ranked[:n_best]}
            beyond = [
                number
                for number in finished_for_good(repetitions, outcomes, is_any=n_best == 0)
                if number // repetitions not in kept
            ]
            assert ledger.finished_beyond_best(range(n_trials), n_best, MAX_ATTEMPTS) == beyond
        if ranked:
            assert best.average == Average.of(ranked[0][1], repetitions) or math.isnan(best.average.std)
            assert best.value == best.average.mean
            assert best.metric == record(ledger, best.number).metric


def finished_for_good(repetitions, outcomes, is_any):
    """The trials that finished, of combinations that nothing can be added to."""
    for number, outcome in enumerate(outcomes):
        first = number - number % repetitions
        is_over = is_any or not {"released", "running"} & set(outcomes[first : first + repetitions])
        if is_over and outcome not in ("failed", "released", "running"):
            yield number


def end(ledger, claim, outcome):
    if outcome == "failed":
        fail(ledger, claim)
    elif outcome == "released":
        release(ledger, claim)
    elif outcome != "running":
        finish(ledger, claim, metric=outcome, result=outcome)


def test_a_lucky_repetition_does_not_win(folder):
    with Ledger.join(folder, grid("lucky", "good", repetitions=3)) as ledger:
        claims, _ = claim_all(ledger, register(ledger))
        for claim, metric in zip(claims, [0.0, 9.0, 9.0, 2.0, 1.0, 3.0], strict=True):
            finish(ledger, claim, metric=metric)
        best = ledger.best()
    assert best.combination["x"] == "good"
    assert (best.number, best.metric, best.value) == (4, 1.0, 2.0)
    assert best.average == Average(3, 2.0, 1.0, 3)


def test_a_combination_counts_when_its_last_repetition_has_a_metric(folder):
    with Ledger.join(folder, grid("a", repetitions=2)) as ledger:
        (first, second), _ = claim_all(ledger, register(ledger))
        finish(ledger, first, metric=1.0)
        assert ledger.best() is None
        assert str(ledger.left_out()) == (
            "1 incomplete combination left out: 1 with repetitions still to run"
        )
        fail(ledger, second)
        assert ledger.best() is None
        assert ledger.left_out() == LeftOut(0, 1, 0)
        (partly,) = ledger.best_trials(1, incomplete=True)
        assert partly.average == Average(1, 1.0, None, 2)
        assert str(partly.average) == "1 (n=1/2)"
        again = claimed(ledger, register(ledger))
        finish(ledger, again, metric=3.0)
        assert ledger.best().average == Average(2, 2.0, statistics.stdev([1.0, 3.0]), 2)
        assert not ledger.left_out()


def test_what_a_failed_repetition_may_still_complete_is_kept(folder):
    with Ledger.join(folder, grid("a", "b", repetitions=2)) as ledger:
        claims, _ = claim_all(ledger, register(ledger))
        for claim, metric in zip(claims, [0.5, 0.5, 0.6, None], strict=True):
            fail(ledger, claim) if metric is None else finish(ledger, claim, metric=metric)
        assert ledger.finished_beyond_best(range(4), 1) == []
        assert ledger.finished_beyond_best(range(4), 1, max_attempts=2) == []
        assert ledger.finished_beyond_best(range(4), 1, max_attempts=1) == [2]


def test_one_that_was_not_drawn_yet_is_waited_for(folder):
    with Ledger.join(folder, grid("a", repetitions=2)) as ledger:
        (only,), _ = claim_all(ledger, register(ledger), max_trials=1)
        finish(ledger, only)
        assert ledger.best() is None


def test_the_best_is_found_behind_many_that_do_not_count(folder):
    values = [f"v{i}" for i in range(150)]
    with Ledger.join(folder, grid(*values, repetitions=2)) as ledger:
        claims, _ = claim_all(ledger, register(ledger))
        for claim in claims:
            is_last = claim.combination["x"] == values[-1]
            finish(ledger, claim, metric=500.0 if is_last or claim.repetition == 0 else math.nan)
        assert ledger.best().combination["x"] == values[-1]
        assert ledger.left_out() == LeftOut(0, 0, len(values) - 1)


def test_without_repetitions_nothing_is_averaged(folder):
    with Ledger.join(folder, grid("a")) as ledger:
        (claim,), _ = claim_all(ledger, register(ledger))
        finish(ledger, claim, metric=1.0)
        assert ledger.best().average is None
        assert ledger.left_out() is None
        assert ledger.best().value == 1.0


def test_levels_of_repetitions_are_refused_but_where_they_are_there(folder, monkeypatch):
    search = Search(
        space_of("a", "b", repetitions=2), "hyperband", brackets=Brackets.of(max_resource=3, eta=3)
    )
    with pytest.raises(ConfigurationError, match="promotes single trials"):
        Ledger.join(folder, search)
    with monkeypatch.context() as before:
        before.setattr(Search, "refuse_levels_of_repetitions", lambda self: None)
        Ledger.join(folder, search).close()
    with Ledger.join(folder, search) as ledger:
        finish(ledger, claimed(ledger, register(ledger)), metric=1.0)
        assert ledger.best().metric == 1.0
        assert ledger.left_out() is None


@given(metrics=st.lists(st.floats(allow_nan=False), min_size=1, max_size=5))
@example([1e308, -1e308])
@example([1.7e308, 1.7e308])
@example([math.inf, -math.inf])
@example([0.1, 0.1, 0.1])
def test_an_average_lies_between_its_metrics(metrics):
    average = Average.of(metrics, len(metrics))
    assert average.n == len(metrics)
    assert math.isnan(average.mean) or min(metrics) <= average.mean <= max(metrics)
    assert (average.std is None) == (len(metrics) == 1)
    assert str(average)
