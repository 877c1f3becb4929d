"""Any order of claims, answers, deaths and late answers, held against a model that fits on a page."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from ledger_support import ask, assert_sound, fail, finish, grid, lose, register, release

from dahps_core.errors import ClaimLost
from dahps_core.ledger import Ledger
from dahps_core.trial import Claim, Draw, TrialState

VALUES = ["a", "b", "c"]
MAX_ATTEMPTS = 2
EDGES = {"finished": finish, "failed": fail, "lost": lose, "released": release}


@dataclass
class Trial:
    """A trial as the model has it."""

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
        assert (draw.number, draw.combination["x"]) == (expected, VALUES[expected])
        assert draw.attempt == self.begin(expected, draw.token, worker)
        return draw

    def expected(self, worker, dead, alive):
        self.waiting -= set(dead)
        for trial in self.trials:
            if trial.state == "running" and trial.holder in dead:
                trial.state = "lost"
        numbered = list(enumerate(self.trials))
        released = [number for number, trial in numbered if trial.state == "released"]
        if released:
            return released[0]
        if len(self.trials) < len(VALUES):
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

    def begin(self, number, token, worker):
        self.waiting.discard(worker)
        if number == len(self.trials):
            self.trials.append(Trial("running", 0, 0, None, None))
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

    @invariant()
    def the_ledger_tells_what_the_model_holds(self):
        found = [(trial.state.value, trial.attempts) for trial in self.ledger.trials()]
        assert found == [(trial.state, trial.attempts) for trial in self.trials]
        states = [trial.state for trial in self.trials]
        assert self.ledger.counts() == {state: states.count(state.value) for state in TrialState}

    def teardown(self):
        self.ledger.close()
        assert_sound(self.folder)
        shutil.rmtree(self.folder)


TestLedgerAgainstItsModel = LedgerAndModel.TestCase
TestLedgerAgainstItsModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
