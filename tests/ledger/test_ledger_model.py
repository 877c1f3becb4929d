"""Any order of claims, answers, deaths, late answers and a person's words, held against a small model."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from ledger_support import ask, assert_sound, fail, finish, grid, lose, register, release, unsound

from dahps_core.errors import ClaimLost, ConfigurationError
from dahps_core.ledger import Ledger
from dahps_core.model.records import Claim, Draw, TrialState

VALUES = ["a", "b", "c"]
MAX_ATTEMPTS = 2
EDGES = {"finished": finish, "failed": fail, "lost": lose, "released": release}


@dataclass
class Trial:
    """A trial as the model has it."""

    value: str
    state: str
    attempts: int
    charged: int
    token: str | None
    holder: str | None


class LedgerAndModel(RuleBasedStateMachine):
    claims = Bundle("claims")
    workers = Bundle("workers")

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.ledger = Ledger.join(self.folder, grid(*VALUES))
        self.trials = []
        self.answers = {}
        self.waiting = set()
        self.living = set()
        self.dead = set()
        self.is_paused = False

    @rule(target=workers)
    def come(self):
        worker = register(self.ledger)
        self.living.add(worker)
        return worker

    @rule(worker=consumes(workers))
    def die(self, worker):
        self.living.discard(worker)
        self.dead.add(worker)

    @rule(target=claims, worker=workers, knows=st.booleans())
    def claim(self, worker, knows):
        dead, alive = (self.dead, self.living) if knows else ((), ())
        draw = ask(self.ledger, worker, max_attempts=MAX_ATTEMPTS, dead=dead, alive=alive)
        expected = self.expected(worker, dead, alive)
        if not isinstance(expected, int):
            assert draw is expected
            return None
        assert isinstance(draw, Claim)
        attempt = self.begin(expected, draw.token, worker)
        assert (draw.number, draw.combination["x"]) == (expected, self.trials[expected].value)
        assert draw.attempt == attempt
        return draw

    def expected(self, worker, dead, alive):
        self.waiting -= set(dead)
        for trial in self.trials:
            if trial.state == "running" and trial.holder in dead:
                trial.state = "lost"
        if self.is_paused:
            self.waiting.add(worker)
            return Draw.PAUSED
        numbered = list(enumerate(self.trials))
        for state in ("released", "queued"):
            if served := [number for number, trial in numbered if trial.state == state]:
                return served[0]
        if self.undrawn():
            return len(self.trials)
        open_ones = [(number, trial) for number, trial in numbered if trial.charged < MAX_ATTEMPTS]
        free = [
            number
            for number, trial in open_ones
            if trial.state == "failed"
            or (trial.state == "lost" and (trial.holder is None or trial.holder in dead))
        ]
        if free:
            return free[0]
        runs = any(trial.state == "running" for trial in self.trials)
        if not runs and not any(trial.state == "lost" for _, trial in open_ones):
            return Draw.EXHAUSTED
        out = [t for _, t in open_ones if t.state == "lost"] + [
            t for t in self.trials if t.state == "running"
        ]
        doubtful = sum(trial.holder is not None and trial.holder not in alive for trial in out)
        if len((self.waiting - {worker}) & set(alive)) >= max(1, doubtful):
            self.waiting.discard(worker)
            return Draw.LEAVE
        self.waiting.add(worker)
        return Draw.WAIT

    def undrawn(self):
        return [value for value in VALUES if value not in [trial.value for trial in self.trials]]

    def begin(self, number, token, worker):
        self.waiting.discard(worker)
        if number == len(self.trials):
            self.trials.append(Trial(self.undrawn()[0], "running", 0, 0, None, None))
        trial = self.trials[number]
        trial.state, trial.token, trial.holder = "running", token, worker
        trial.attempts += 1
        trial.charged += 1
        return trial.attempts

    @rule(claim=claims, outcome=st.sampled_from(sorted(EDGES)))
    def answer(self, claim, outcome):
        """By a living holder, a dead one's ghost, or somebody who lost or ended it long ago."""
        if claim is None:
            return
        trial = self.trials[claim.number]
        is_held = trial.token == claim.token
        assert self.ledger.is_held(claim) == is_held
        try:
            EDGES[outcome](self.ledger, claim)
        except ClaimLost:
            assert not is_held
            assert self.answers.get(claim.token) != outcome
            return
        if is_held:
            trial.state, trial.token, trial.holder = outcome, None, None
            trial.charged -= outcome == "released"
            self.answers[claim.token] = outcome
        assert self.answers[claim.token] == outcome

    @rule(pauses=st.booleans())
    def pause_or_resume(self, pauses):
        (self.ledger.pause if pauses else self.ledger.resume)()
        self.is_paused = pauses

    @precondition(lambda self: self.trials)
    @rule(data=st.data())
    def cancel(self, data):
        number = data.draw(st.integers(0, len(self.trials) - 1))
        self.say(self.ledger.cancel, number, {"finished"}, "cancelled")

    @precondition(lambda self: self.trials)
    @rule(data=st.data())
    def retry(self, data):
        number = data.draw(st.integers(0, len(self.trials) - 1))
        if self.say(self.ledger.retry, number, {"finished", "running", "released"}, "queued"):
            self.trials[number].charged = 0

    def say(self, word, number, refused, state):
        trial = self.trials[number]
        try:
            assert [was.value for was in word(number)] == [trial.state]
        except ConfigurationError:
            assert trial.state in refused
            return False
        assert trial.state not in refused
        trial.state, trial.token, trial.holder = state, None, None
        return True

    @rule(value=st.sampled_from(VALUES))
    def enqueue(self, value):
        if value in self.undrawn():
            self.trials.append(Trial(value, "queued", 0, 0, None, None))
        (told,) = self.ledger.enqueue([{"x": value}])
        assert self.trials[told.number].value == value
        assert told.state.value == self.trials[told.number].state

    @invariant()
    def the_ledger_tells_what_the_model_holds(self):
        found = [(trial.state.value, trial.attempts) for trial in self.ledger.trials()]
        assert found == [(trial.state, trial.attempts) for trial in self.trials]
        states = [trial.state for trial in self.trials]
        assert self.ledger.counts() == {state: states.count(state.value) for state in TrialState}

    def teardown(self):
        self.ledger.close()
        assert_sound(self.folder)
        assert unsound(self.folder) == []
        shutil.rmtree(self.folder)


TestLedgerAgainstItsModel = LedgerAndModel.TestCase
TestLedgerAgainstItsModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
