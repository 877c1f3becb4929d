"""Promotions, held against a model that sorts all that has ended anew each time."""

import json
import math
import random
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_support import (
    ask,
    assert_sound,
    claimed,
    ending_of,
    fail,
    finish,
    levelled,
    lose,
    record,
    register,
    release,
    space_of,
    sql,
)

from dahps_core.errors import ConfigurationError, SearchChangedError
from dahps_core.ledger import Ledger, Search
from dahps_core.ledger.repair.check import violations
from dahps_core.model.records import Claim, Draw, TrialState
from dahps_core.strategies.brackets import Brackets


@dataclass
class Model:
    """What ended, and in which order; who may be promoted is found by sorting all of it."""

    brackets: Brackets
    ends: list = field(default_factory=list)  # (trial, level, metric or None)
    promoted: set = field(default_factory=set)  # (trial, level)

    def end(self, trial, level, metric):
        before = [end for end in self.ends if end[:2] == (trial, level)]
        for failure in before:
            assert failure[2] is None, "evaluated twice"
            self.ends.remove(failure)
        self.ends.append((trial, level, metric))

    def top(self, bracket, level):
        if level == self.brackets.top:
            return []
        rung = [end for end in self.ends if self.brackets.bracket(end[0]) == bracket and end[1] == level]
        best_first = sorted(rung, key=lambda end: math.inf if bad(end[2]) else end[2])  # stable
        numbers = [end for end in best_first if not bad(end[2])]  # what is bad comes after infinity
        return numbers[: len(rung) // self.brackets.eta]

    def promotable(self):
        return [
            (level, metric, self.ends.index((trial, level, metric)), trial)
            for bracket in range(len(self.brackets.sizes))
            for level in range(bracket, self.brackets.top)
            for trial, level, metric in self.top(bracket, level)
            if (trial, level) not in self.promoted
        ]

    def next(self):
        """Whom to promote, from which level; None: nobody."""
        found = sorted(self.promotable(), key=lambda one: (-one[0], *one[1:3]))
        return (found[0][3], found[0][0]) if found else None


def bad(metric):
    return metric is None or math.isnan(metric)


METRICS = (
    st.sampled_from([0.0, -0.0, 1.0, 2.0, 2.0, 3.0, -1.5, math.inf, -math.inf, math.nan, None]) | st.floats()
)
OPTIONS = st.builds(
    dict,
    eta=st.integers(2, 4),
    levels=st.integers(1, 4).map(lambda n: list(range(1, n + 1))),
    sizes=st.sampled_from(["algorithm_1", "table_1"]),
)
ENDINGS = ("finished",) * 6 + ("failed", "died", "released", "vanishes")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.data(),
    OPTIONS,
    st.sampled_from([1, 2, 5, 16, 64, 500]),
    st.integers(0, 2**32),
    st.sampled_from(["minimize", "maximize"]),
    st.booleans(),
)
def test_any_order_of_ends_promotes_as_the_model_says(data, options, n_workers, seed, direction, reopens):
    """And at rest nothing promotable is left; maximizing is minimizing the negated metric."""
    brackets = Brackets.of(**options)
    chance = random.Random(seed)
    palette = data.draw(st.lists(METRICS, min_size=1, max_size=8))
    sign = -1 if direction == "maximize" else 1
    n_trials = data.draw(st.integers(1, 40))
    asked = Search(space_of(*range(n_trials)), "hyperband", direction=direction, seed=1, brackets=brackets)
    folder = Path(tempfile.mkdtemp())
    ledger = Ledger.join(folder, asked)
    model = Model(brackets)
    running, dead, idle = {}, set(), [register(ledger) for _ in range(n_workers)]
    attempts, released = defaultdict(int), set()
    for _ in range(20 * n_trials * len(brackets.levels) + 20):
        if reopens:
            ledger.close()
            ledger = Ledger.open(folder)
        if running and (not idle or chance.random() < 0.5):
            worker = chance.choice(sorted(running))
            claim = running.pop(worker)
            key = (claim.number, claim.level)
            # What always failed would be over, by how often it may be run.
            outcome = chance.choice(ENDINGS) if attempts[key] < 4 else "finished"
            metric = chance.choice(palette)
            if outcome == "vanishes":
                dead.add(worker)
                idle.append(register(ledger))
                continue
            if outcome == "finished":
                finish(ledger, claim, metric=None if metric is None else sign * metric)
            else:
                {"failed": fail, "died": lose, "released": release}[outcome](ledger, claim)
            if outcome == "released":
                released.add(claim.number)
            else:
                model.end(*key, metric if outcome == "finished" else None)
            idle.append(worker)
        elif idle:
            worker = idle.pop(chance.randrange(len(idle)))
            due = model.next()
            draw = ask(ledger, worker, max_attempts=6, dead=dead)
            if isinstance(draw, Claim):
                if due and draw.number == due[0] and draw.level == due[1] + 1:
                    model.promoted.add(due)
                else:
                    assert due is None or draw.number in released, "only what was released comes before"
                released.discard(draw.number)
                attempts[draw.number, draw.level] += 1
                assert draw.resource == brackets.levels[draw.level]
                running[worker] = draw
            elif draw is Draw.EXHAUSTED:
                assert not running
                break
            elif draw is Draw.LEAVE:
                idle += [] if idle else [register(ledger)]
            else:
                idle.append(worker)
    assert not model.promotable()
    assert ledger.remaining(None, 6) == 0
    evaluated = {(trial.number, level) for trial in ledger.trials() for level in trial.metrics}
    assert evaluated == {(trial, level) for trial, level, _ in model.ends}
    assert_best_is_the_model_s(ledger, model, sign)
    ledger.close()
    assert_sound(folder)
    assert list(violations(folder)) == []
    shutil.rmtree(folder)


def assert_best_is_the_model_s(ledger, model, sign):
    scored = [end for end in model.ends if not bad(end[2])]
    best = ledger.best()
    if not scored:
        assert best is None
        return
    number, level, metric = min(scored, key=lambda end: (-end[1], end[2]))
    assert (best.number, best.level, best.metric) == (number, level, sign * metric)


class TestAPromotedTrial:
    @pytest.fixture
    def ledger(self, folder):
        with Ledger.join(folder, levelled()) as ledger:
            yield ledger

    @pytest.fixture
    def promoted(self, ledger):
        worker = register(ledger)
        for metric in (0.3, 0.1, 0.2):
            finish(ledger, claimed(ledger, worker), metric=metric, output_dir=f"of {metric}")
        return claimed(ledger, worker)

    def test_is_the_same_trial_at_the_next_level(self, ledger, promoted):
        assert (promoted.number, promoted.attempt, promoted.level, promoted.resource) == (1, 2, 1, 3)
        assert promoted.combination == record(ledger, 1).combination

    def test_keeps_the_metric_of_each_level(self, ledger, promoted, folder):
        assert record(ledger, 1).metric is None
        assert record(ledger, 1).metrics == {0: 0.1}
        finish(ledger, promoted, metric=0.05)
        found = record(ledger, 1)
        assert (found.metric, found.metrics, found.resource) == (0.05, {0: 0.1, 1: 0.05}, 3)
        assert list(violations(folder)) == []

    def test_is_claimed_again_at_its_level_after_it_was_lost(self, ledger, promoted):
        release(ledger, promoted)
        again = claimed(ledger, register(ledger))
        assert (again.number, again.level, again.attempt) == (1, 1, 3)

    def test_has_attempts_of_its_own(self, ledger, promoted):
        fail(ledger, promoted)
        claims = [claimed(ledger, register(ledger), max_trials=3, max_attempts=3)]
        fail(ledger, claims[-1])
        claims.append(claimed(ledger, register(ledger), max_trials=3, max_attempts=3))
        fail(ledger, claims[-1])
        assert [(one.number, one.level) for one in claims] == [(1, 1), (1, 1)]
        assert ask(ledger, register(ledger), max_trials=3, max_attempts=3) is Draw.EXHAUSTED
        assert record(ledger, 1).state is TrialState.FAILED

    def test_that_fails_is_still_the_best_of_the_level_below(self, ledger, promoted):
        fail(ledger, promoted)
        best = ledger.best()
        assert (best.number, best.metric, best.level, best.resource) == (1, 0.1, 0, 1)
        assert best.output_dir == "of 0.1"

    def test_can_be_retried_by_a_person_at_its_level(self, ledger, promoted, folder):
        fail(ledger, promoted)
        ledger.retry(1)
        again = claimed(ledger, register(ledger))
        assert (again.number, again.level) == (1, 1)
        finish(ledger, again)
        assert list(violations(folder)) == []

    def test_is_no_other_worker_s_too(self, ledger, promoted):
        assert claimed(ledger, register(ledger)).number == 3


def test_serial_asha_with_the_best_first_is_successive_halving(folder):
    with Ledger.join(folder, levelled(81, strategy="asha", max_resource=81)) as ledger:
        worker = register(ledger)
        while isinstance(draw := ask(ledger, worker), Claim):
            finish(ledger, draw, metric=draw.number)
        assert draw is Draw.EXHAUSTED
        ended = [rung.n_ended for rung in ledger.rungs()]
        assert ended == [81, 27, 9, 3, 1]
        for level, n in enumerate(ended):
            there = {trial.number for trial in ledger.trials() if level in trial.metrics}
            assert there == set(range(n)), "as many as in synchronous halving, and the same"


def test_two_of_nine_are_not_promoted_besides_the_three_that_are_due(folder):
    """What is promoted already is taken out after the top was chosen, not before."""
    with Ledger.join(folder, levelled(9, strategy="asha")) as ledger:
        worker = register(ledger)
        claims = [claimed(ledger, register(ledger)) for _ in range(9)]
        for claim in claims:
            finish(ledger, claim, metric=claim.number)
        promoted = [claimed(ledger, worker) for _ in range(3)]
        assert [claim.number for claim in promoted] == [0, 1, 2]
        assert ask(ledger, worker) is Draw.WAIT


def test_of_equal_ones_the_later_falls_out_of_the_top(folder):
    with Ledger.join(folder, levelled(9, strategy="asha", max_resource=2, eta=2)) as ledger:
        worker = register(ledger)
        claims = [claimed(ledger, register(ledger)) for _ in range(5)]
        for claim in claims[:4]:
            finish(ledger, claim, metric=2)
        assert claimed(ledger, worker).number == 0, "numbers 0 and 1 are the top"
        finish(ledger, claims[4], metric=1)
        assert claimed(ledger, worker).number == 4
        assert claimed(ledger, worker).number == 5, "number 1 is in the top no longer"


def test_brackets_are_dealt_by_number_and_a_restart_goes_on(folder):
    dealt = []
    for _ in range(20):
        with Ledger.join(folder, levelled()) as ledger:
            dealt.append(claimed(ledger, register(ledger)).level)
    assert dealt == [0] * 9 + [1] * 5 + [2] * 3 + [0] * 3


def test_trials_that_a_person_asks_for_are_dealt_too(folder):
    with Ledger.join(folder, levelled()) as ledger:
        for _ in range(9):
            claimed(ledger, register(ledger))
        ledger.enqueue([{"x": record(ledger, 0).combination["x"]}, {"x": unseen(ledger)}])
        assert claimed(ledger, register(ledger)).level == 1


def unseen(ledger):
    seen = {trial.combination["x"] for trial in ledger.trials()}
    return next(x for x in range(100) if x not in seen)


def test_only_who_has_finished_at_the_highest_level_needs_no_checkpoint(folder):
    with Ledger.join(folder, levelled(8, strategy="asha", max_resource=2, eta=2)) as ledger:
        worker = register(ledger)
        while isinstance(draw := ask(ledger, worker), Claim):
            finish(ledger, draw, metric=-draw.number)
        at_the_top = [trial.number for trial in ledger.trials() if trial.level == 1]
        assert len(at_the_top) >= 4
        everyone = range(8)
        assert ledger.finished_beyond_best(everyone, 0) == at_the_top
        assert ledger.finished_beyond_best(everyone, 2) == at_the_top[:-2]


def test_nothing_is_drawn_that_the_resource_does_not_allow(folder):
    with Ledger.join(folder, levelled(strategy="asha")) as ledger:
        worker = register(ledger)
        spent = 0
        assert ledger.remaining(None, 2, 20) > 0
        while isinstance(draw := ask(ledger, worker, max_resource_total=20), Claim):
            spent += ledger.search.brackets.cost(0, draw.level)
            finish(ledger, draw, metric=draw.number)
        assert draw is Draw.EXHAUSTED
        assert ledger.remaining(None, 2, 20) == 0
        assert 14 < spent <= 20, "the next one is a promotion that costs 6, or a new trial that costs 1"


def test_workers_wait_for_a_promotion_that_only_a_dead_one_would_have_made(folder):
    with Ledger.join(folder, levelled(3, strategy="asha")) as ledger:
        busy = [register(ledger) for _ in range(3)]
        claims = [claimed(ledger, worker) for worker in busy]
        idle, spare = register(ledger), register(ledger)
        assert ask(ledger, idle) is Draw.WAIT
        assert ask(ledger, spare, alive=[*busy, idle]) is Draw.LEAVE
        for claim in claims:
            finish(ledger, claim, metric=claim.number)
        promoted = claimed(ledger, idle)
        assert (promoted.number, promoted.level) == (0, 1)
        assert ask(ledger, spare, after=ending_of(promoted)) is Draw.EXHAUSTED


def test_a_worker_of_a_branch_promotes_only_there_and_waits_for_the_others(folder):
    asked = levelled(9, strategy="asha")
    with Ledger.join(folder, asked) as whole, Ledger.join(folder, asked, only={"x": [0, 1]}) as branch:
        worker = register(branch)
        own = [claimed(branch, worker) for _ in range(2)]
        others = [claimed(whole, register(whole)) for _ in range(7)]
        for claim in own:
            finish(branch, claim, metric=claim.number)
        assert ask(branch, worker) is Draw.WAIT, "the others' ends decide whether one of the two goes on"
        for claim in others:
            finish(whole, claim, metric=100)
        assert [claimed(branch, worker).number for _ in range(2)] == [claim.number for claim in own]
        assert ask(branch, worker) is Draw.WAIT
        assert claimed(whole, register(whole)).number == others[0].number


class TestTheSearch:
    def test_keeps_its_brackets(self, folder):
        asked = levelled(strategy="hyperband", levels=[1, 2.5, 7], eta=4, resource="increment")
        Ledger.join(folder, asked).close()
        with Ledger.open(folder) as ledger:
            assert ledger.search.brackets == asked.brackets

    def test_with_other_brackets_is_another_one(self, folder):
        Ledger.join(folder, levelled()).close()
        with pytest.raises(SearchChangedError) as raised:
            Ledger.join(folder, levelled(max_resource=27, eta=2))
        assert "strategy.eta: the ledger has 3, this command 2" in str(raised.value)
        assert "levels: the ledger has [1, 3, 9]" in str(raised.value)

    def test_has_brackets_if_its_strategy_has_levels(self):
        with pytest.raises(ConfigurationError, match="hyperband needs levels"):
            Search(space_of(1), "hyperband")
        with pytest.raises(ConfigurationError, match="grid has no levels"):
            Search(space_of(1), "grid", brackets=Brackets.of(max_resource=9))

    def test_that_is_damaged_is_told(self, folder):
        Ledger.join(folder, levelled()).close()
        for brackets in ({}, [], {"levels": [3, 1], "eta": 3, "sizes": [1], "mode": "total"}, "?"):
            sql(folder, "UPDATE meta SET brackets = ?", json.dumps(brackets))
            assert "its search cannot be read" in " ".join(violations(folder))
