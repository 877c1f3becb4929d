"""Whatever a process was doing when it was killed: nothing is wrong, nothing is lost."""

import multiprocessing
import shutil
import signal

import pytest
from ledger_support import (
    REPORTS,
    ask,
    assert_sound,
    claimed,
    ending_of,
    fail,
    finish,
    grid,
    levelled,
    lose,
    register,
    release,
)
from trap import set_trap

from dahps_core.errors import LedgerError
from dahps_core.ledger import Ledger
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.ledger.repair.check import violations
from dahps_core.model.records import Claim, Draw, TrialState

SEARCH = grid(*"abcdef")
LARGER = grid(*"abcdefgh")
#: One of the two trials that have ended when a child begins may be promoted.
LEVELLED = levelled(6, strategy="asha", eta=2, max_resource=4)
WAIT_S = 60
CONTEXT = multiprocessing.get_context("fork")


class Scene:
    """A ledger with a history, of which each child gets a copy of its own."""

    def __init__(self, folder, locking, search):
        self.folder, self.locking, self.search = folder, locking, search
        with Ledger.join(folder, search, locking=locking) as ledger:
            self.silent, self.worker = register(ledger), register(ledger)
            finish(ledger, claimed(ledger, self.worker), metric=10.0)
            self.of_silent = claimed(ledger, self.silent)
            self.held = claimed(ledger, self.worker)
            fail(ledger, claimed(ledger, self.worker))

    def copy(self, folder):
        shutil.copytree(self.folder, folder)
        return folder


def create(scene, folder):
    return join(scene, folder / "new")


def join(scene, folder, search=None, **options):
    return Ledger.join(folder, search or scene.search, locking=scene.locking, **options)


def extend(scene, folder):
    return join(scene, folder, LARGER, on_change="extend")


def come_back(scene, folder):
    return join(scene, folder)


def claim_new(scene, ledger):
    return claimed(ledger, scene.worker)


def claim_released(scene, ledger):
    release(ledger, scene.held)
    return claimed(ledger, scene.worker)


def claim_lost(scene, ledger):
    return claimed(ledger, scene.worker, max_trials=1, dead=[scene.silent])


def finish_and_claim(scene, ledger):
    return claimed(ledger, scene.worker, after=ending_of(scene.held))


def record_history(scene, ledger):
    ledger.record_history(scene.held, REPORTS)
    assert len(ledger.history(scene.held.number)) == 2
    return True


def finish_with_history(scene, ledger):
    return claimed(ledger, scene.worker, after=ending_of(scene.held, result=1.0, metric=1.0, reports=REPORTS))


def wait(scene, ledger):
    return ask(ledger, scene.worker, max_trials=1, max_attempts=1)


def enter(scene, ledger):
    Heart(ledger.folder, register(ledger)).beat()
    return ledger


def retire(scene, ledger):
    ledger.retire(scene.worker)
    return True


def pause(scene, ledger):
    ledger.pause()
    return True


def resume(scene, ledger):
    ledger.pause()
    ledger.resume()
    return True


def stop(scene, ledger):
    ledger.stop(now=True)
    return True


def cancel(scene, ledger):
    return ledger.cancel(scene.held.number, scene.of_silent.number)


def retry(scene, ledger):
    ledger.retry(3)
    return claimed(ledger, scene.worker)


def retry_failed(scene, ledger):
    return ledger.retry_failed()


def enqueue(scene, ledger):
    return ledger.enqueue([{"x": "f"}, {"x": "a"}]) and claimed(ledger, scene.worker)


def draw_from_a_branch(scene, folder):
    ledger = join(scene, folder, only={"x": ["e", "f"]})
    return claimed(ledger, register(ledger))


def edge(end):
    def answer(scene, ledger):
        end(ledger, scene.held)
        return True

    answer.__name__ = end.__name__
    return answer


def promote(scene, ledger):
    claim = claimed(ledger, scene.worker)
    assert (claim.number, claim.level) == (0, 1)
    return claim


def end_and_promote(scene, ledger):
    """Another one than before: who ends displaces it from the top."""
    claim = claimed(ledger, scene.worker, after=ending_of(scene.held))
    assert (claim.number, claim.level) == (scene.held.number, 1)
    return claim


def claim_the_promoted_of_a_dead_worker(scene, ledger):
    number = promote(scene, ledger).number
    claim = claimed(ledger, register(ledger), max_trials=1, dead=[scene.worker])
    assert (claim.number, claim.level) == (number, 1)
    return claim


def at_a_level(end):
    def answer(scene, ledger):
        end(ledger, promote(scene, ledger))
        return True

    answer.__name__ = f"{end.__name__}_at_a_level"
    return answer


EDGES = [edge(end) for end in (finish, fail, lose, release)]
#: Those of a search with levels.
PROMOTING = [
    promote,
    end_and_promote,
    claim_the_promoted_of_a_dead_worker,
    *(at_a_level(end) for end in (finish, fail, lose, release)),
]
#: Those that join the ledger, and those of one that has joined.
JOINING = [create, extend, come_back, draw_from_a_branch]
ACTIONS = [
    *JOINING,
    claim_new,
    claim_released,
    claim_lost,
    finish_and_claim,
    record_history,
    finish_with_history,
    wait,
    enter,
    retire,
    pause,
    resume,
    stop,
    cancel,
    retry,
    retry_failed,
    enqueue,
    *EDGES,
    *PROMOTING,
]


def act(action, scene, folder, at, signal_number, done):
    place = folder if action in JOINING else join(scene, folder)
    set_trap(at, signal_number)
    try:
        done.send(bool(action(scene, place)))
    except LedgerError as error:
        done.send(error)


def started(action, scene, folder, at, signal_number):
    """A child that acts, and comes to its end or to the step; and where its answer arrives."""
    answers, done = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=act, args=(action, scene, folder, at, signal_number, done))
    child.start()
    done.close()
    return child, answers


def finish_the_search(folder, dead):
    """Evaluate all that is left, as a new worker does; each trial is finished once in the end."""
    with Ledger.open(folder) as ledger:
        ledger.resume()
        worker = register(ledger, run="the next")
        if cancelled := [trial.number for trial in ledger.trials() if trial.state is TrialState.CANCELLED]:
            ledger.retry(*cancelled)
        ending = None
        while isinstance(draw := ask(ledger, worker, max_attempts=9, dead=dead, after=ending), Claim):
            ending = ending_of(draw)
        assert draw is Draw.EXHAUSTED
        trials = list(ledger.trials())
        assert {trial.state for trial in trials} == {TrialState.FINISHED}
        assert len({trial.combination["x"] for trial in trials}) == len(trials) == ledger.search.space.size
        return trials


@pytest.mark.parametrize("locking", ["fcntl", "folder"])
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_a_process_that_is_killed_at_any_step(folder, locking, action):
    scene = Scene(folder / "scene", locking, LEVELLED if action in PROMOTING else SEARCH)
    for at in range(1, 400):
        copy = scene.copy(folder / str(at))
        child, answers = started(action, scene, copy, at, signal.SIGKILL)
        child.join(WAIT_S)
        assert child.exitcode in (-signal.SIGKILL, 0)
        if action is create:
            copy = copy / "new"
            join(scene, copy).close()  # whoever comes next makes it, or finds it made
        with Ledger.open(copy) as ledger:
            dead = [worker.id for worker in ledger.workers("run")]
        trials = finish_the_search(copy, dead)
        if action is not create:
            assert trials[0].metrics.get(0, trials[0].metric) == 10.0
        if scene.locking == "fcntl":
            assert_sound(copy)
        assert list(violations(copy)) == []
        with Ledger.open(copy) as ledger:
            assert len(ledger.history(scene.held.number)) in (0, 2)
        if child.exitcode == 0:
            assert answers.recv() is True
            break
        shutil.rmtree(folder / str(at))
    assert at > 5, "a trap that never snapped shows nothing"
