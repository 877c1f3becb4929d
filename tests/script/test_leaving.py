"""Every way in which a script comes to its end, with a trial in hand: real processes and real signals."""

import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from tests.support import wait_until

USES = {
    "with": """
s = search()
with s.trial() as trial:
    {body}
""",
    "plain": """
s = search()
trial = s.current
{body}
""",
}


def held(use, body):
    """A script that holds a trial in one of these ways."""
    return USES[use].format(body=body.replace("\n", "\n    ") if use == "with" else body)


@pytest.fixture(params=USES)
def use(request):
    return partial(held, request.param)


def test_an_exception_is_a_failed_attempt_with_its_traceback(scripts, use):
    outcome = scripts.run(use("raise ValueError('no such layer')"))
    assert outcome.code == 1
    assert "ValueError: no such layer" in outcome.output
    (trial,) = scripts.trials()
    assert trial.state.value == "failed"
    assert trial.error.startswith("Traceback")
    assert "script0.py" in trial.error
    assert trial.error.endswith("ValueError: no such layer")


def test_a_mistyped_line_in_a_session_is_no_failure(scripts):
    session = "s = search()\nprint(undefined)\ns.finish_combination(0.5)\n"
    subprocess.run(
        [sys.executable, "-i", scripts.script("")],
        input=session,
        cwd=scripts.folder,
        env=scripts.environ(),
        timeout=60,
        text=True,
        check=True,
        capture_output=True,
    )
    assert [trial.metric for trial in scripts.trials()] == [0.5]


def test_ctrl_c_gives_the_trial_back(scripts, use):
    script = scripts.started(use("started()\ntime.sleep(60)"))
    script.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in scripts.end(script).output
    (trial,) = scripts.trials()
    assert (trial.state.value, trial.error) == ("released", "KeyboardInterrupt: the script left its trial")


def test_whatever_else_a_block_raises_is_a_failure(scripts):
    outcome = scripts.run(USES["with"].format(body="raise GeneratorExit('no data')"))
    assert outcome.code == 1
    (trial,) = scripts.trials()
    assert trial.state.value == "failed"
    assert trial.error.startswith("Traceback")
    assert trial.error.endswith("GeneratorExit: no data")


def test_sys_exit_in_a_block_gives_the_trial_back(scripts):
    assert scripts.run(USES["with"].format(body="sys.exit(3)")).code == 3
    assert scripts.states() == ["released"]


@pytest.mark.parametrize("end", ["", "sys.exit(3)"])
def test_a_script_that_ends_without_a_word_has_failed(scripts, end):
    scripts.run(USES["plain"].format(body=end))
    (trial,) = scripts.trials()
    assert (trial.state.value, trial.error) == ("failed", "the script ended before finish_combination")


def test_a_block_that_ends_without_a_metric_has_failed(scripts):
    assert scripts.run("s = search()\nwith s.trial():\n    pass\n").code == 1
    (trial,) = scripts.trials()
    assert trial.state.value == "failed"
    assert "finish_combination(accuracy)" in trial.error


def test_a_result_of_none_is_refused_and_the_trial_is_still_in_hand(scripts):
    scripts.run(
        """
from dahps_core.errors import MetricError
s = search()
try:
    s.finish_combination(None)
except MetricError as error:
    assert "finish_combination(accuracy)" in str(error)
s.finish_combination(0.5)
"""
    )
    assert [(trial.state.value, trial.metric) for trial in scripts.trials()] == [("finished", 0.5)]


def test_a_script_whose_metric_is_always_nan_draws_no_more(scripts):
    scripts.run(
        """
s = search(stop_after_failures=2)
for _ in s:
    s.finish_combination(float("nan"))
assert "the metric of its first 2 finished trials is NaN" in s._hand.why_none, s._hand.why_none
"""
    )
    assert [trial.state.value for trial in scripts.trials()] == ["finished"] * 2


def test_a_block_that_ends_finishes_its_trial_with_the_last_report(scripts):
    scripts.run(
        """
s = search()
with s.trial() as trial:
    s.finish_combination(0.25)
    assert s.current is None
with s.trial() as trial:
    trial.report(7.0, 0)
    trial.report(0.5, 1)
"""
    )
    assert [(trial.state.value, trial.metric) for trial in scripts.trials()] == [
        ("finished", 0.25),
        ("finished", 0.5),
    ]
    with scripts.ledger as ledger:
        assert ledger.history(1) == [(1, 0, 7.0), (1, 1, 0.5)]


@pytest.mark.parametrize(
    ("use", "number", "leave"),
    [
        ("with", signal.SIGTERM, "sys.exit(5)"),
        ("plain", signal.SIGTERM, "sys.exit(5)"),
        ("plain", signal.SIGHUP, "raise RuntimeError('a data loader died')"),
    ],
)
def test_who_asks_is_told_and_is_resumed_by_the_next(scripts, use, number, leave):
    body = f"trial.report(1.0, 0)\nuntil_told(trial)\ntrial.checkpoint_dir.joinpath('x').touch()\n{leave}"
    script = scripts.started(held(use, body))
    script.send_signal(number)
    assert scripts.end(script).code in (5, 1)
    (trial,) = scripts.trials()
    assert trial.state.value == "released"
    assert trial.error == f"{number.name}: its worker had to end"
    with scripts.ledger as ledger:
        assert ledger.worker_counts() == {"working": 0, "waiting": 0, "left": 1}
        assert ledger.history(0) == [(1, 0, 1.0)]
    assert_it_is_there = "assert s.current.checkpoint_dir.joinpath('x').exists()"
    scripts.run(f"s = search()\n{assert_it_is_there}\ns.finish_combination(1)")
    (trial,) = scripts.trials()
    assert (trial.state.value, trial.attempts) == ("finished", 2)


def test_who_does_not_ask_is_given_its_time_and_ended_by_the_signal_itself(scripts, use):
    body = "trial.report(1.0, 0)\nstarted()\nwhile True: time.sleep(1)"
    script = scripts.started(use(body).replace("search()", "search(grace=0.3)"))
    script.send_signal(signal.SIGTERM)
    outcome = scripts.end(script)
    assert outcome.code == -signal.SIGTERM
    assert "the script has 0.3 s to leave" in outcome.output
    assert scripts.states() == ["released"]
    with scripts.ledger as ledger:
        assert ledger.worker_counts()["left"] == 1
        assert ledger.history(0) == [(1, 0, 1.0)]


def test_a_script_that_is_busy_in_c_is_ended_as_well(scripts):
    script = scripts.started(
        "s = search(grace=0.3)\nstarted()\nsignal.sigwait([signal.SIGRTMAX])  # no handler runs meanwhile"
    )
    script.send_signal(signal.SIGTERM)
    assert scripts.end(script).code == -signal.SIGTERM
    assert scripts.states() == ["released"]


def test_who_finishes_in_time_has_finished_and_draws_no_more(scripts):
    script = scripts.started(
        """
s = search()
for trial in s:
    until_told(trial)
    s.finish_combination(0.5)
assert s.combination is None
print("the end")
"""
    )
    script.send_signal(signal.SIGTERM)
    outcome = scripts.end(script)
    assert outcome.code == 0, outcome.output
    assert "the end" in outcome.output
    assert "SIGTERM: its worker had to end" in outcome.output
    assert scripts.states() == ["finished"]


def test_who_finishes_in_time_and_stays_is_ended_all_the_same(scripts):
    script = scripts.started(
        "s = search(grace=0.5)\nuntil_told(s.current)\ns.finish_combination(0.5)\nwhile True: time.sleep(1)"
    )
    script.send_signal(signal.SIGTERM)
    assert scripts.end(script).code == -signal.SIGTERM
    assert scripts.states() == ["finished"]


def test_outside_of_a_search_signals_do_what_they_did_before(scripts):
    script = scripts.started(
        """
signal.signal(signal.SIGTERM, lambda *_: os._exit(42))
s = search(k=1)
s.finish_combination(0.5)
assert s.get_new_combination() is None
started()
time.sleep(60)
"""
    )
    script.send_signal(signal.SIGTERM)
    assert scripts.end(script).code == 42


@pytest.mark.parametrize("leaves", [True, False])
def test_a_launcher_s_own_handler_is_called_once_when_the_trial_was_given_back(scripts, leaves):
    script = scripts.started(
        """
from dahps_core import Ledger
def requeue(*_):
    with Ledger.open(FOLDER / "ledger") as ledger:
        print("requeued:", *(trial.state.value for trial in ledger.trials()), flush=True)
    sys.exit(17)
signal.signal(signal.SIGUSR2, requeue)
s = search(grace={})
until_told(s.current)
{}
""".format(*((60, "sys.exit()") if leaves else (0.3, "time.sleep(60)")))
    )
    script.send_signal(signal.SIGUSR2)
    assert scripts.end(script).output.count("requeued: released") == 1


def test_a_killed_script_s_trial_is_resumed_by_another_process_from_its_checkpoint(scripts):
    script = scripts.started(
        """
import torch
s = search()
for step in range(3):
    s.report(float(step), step)
    s.save_checkpoint({"step": torch.tensor(step)})
started()
time.sleep(60)
"""
    )
    script.kill()
    outcome = scripts.run(
        """
s = search()
for trial in s:
    state = s.load_checkpoint()
    first = state["step"].item() + 1 if state else 0
    for step in range(first, 5):
        s.report(float(step), step)
    s.finish_combination(first)
"""
    )
    assert outcome.code == 0, outcome.output
    resumed = scripts.trials()[0]
    assert (resumed.state.value, resumed.attempts, resumed.metric) == ("finished", 2, 3)
    with scripts.ledger as ledger:
        assert ledger.history(0) == [(1 if step < 3 else 2, step, float(step)) for step in range(5)]


def test_a_signal_to_the_whole_job_is_no_failure_though_a_data_loader_dies_of_it(scripts):
    script = scripts.started(
        """
from torch.utils.data import DataLoader
s = search()
for batch in DataLoader(range(100_000), num_workers=1):
    started()
"""
    )
    os.killpg(script.pid, signal.SIGTERM)
    outcome = scripts.end(script)
    assert outcome.code == 1
    assert "in __next__" in outcome.output  # the loader's own error
    assert scripts.states() == ["released"]


def test_forked_processes_of_a_script_end_by_sigterm_and_leave_the_trial_alone(scripts):
    outcome = scripts.run(
        """
import multiprocessing
s = search()
def sleep():
    started()
    time.sleep(60)
child = multiprocessing.get_context("fork").Process(target=sleep)
child.start()
wait_until((FOLDER / "started").exists, 60, "the child")
child.terminate()
child.join(30)
assert child.exitcode == -signal.SIGTERM, child.exitcode
pid = os.fork()
if pid == 0:
    assert current_trial().number == 0
    try:
        s.finish_combination(7)
    except Exception as error:
        print(error)
    sys.exit(0)  # runs what is registered with atexit
os.waitpid(pid, 0)
s.finish_combination(0.5)
"""
    )
    assert outcome.code == 0, outcome.output
    assert "trial 0: this process was forked from the process that holds the trial" in outcome.output
    assert [(trial.state.value, trial.metric) for trial in scripts.trials()] == [("finished", 0.5)]


def test_a_process_of_multiprocessing_tells_why_it_ends(scripts):
    outcome = scripts.run(
        """
import torch.multiprocessing as mp
def train(rank):
    s = search()
    raise ValueError("no such layer")
if __name__ == "__main__":
    mp.spawn(train, nprocs=1)
"""
    )
    assert outcome.code == 1
    (trial,) = scripts.trials()
    assert trial.state.value == "failed"
    assert "ValueError: no such layer" in trial.error


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("before", ["", "search().finish_combination(0.5)"])
def test_a_process_that_is_started_in_any_way_tells_why_it_ends(scripts, method, before):
    scripts.run(
        f"""
import multiprocessing
def train():
    s = search()
    raise ValueError("no such layer")
if __name__ == "__main__":
    {before}
    child = multiprocessing.get_context("{method}").Process(target=train)
    child.start()
    child.join()
"""
    )
    trial = scripts.trials()[-1]
    assert trial.state.value == "failed"
    assert "ValueError: no such layer" in trial.error


def test_a_cancelled_trial_is_told_and_what_it_still_writes_is_refused(scripts):
    script = scripts.started(
        """
from dahps_core.errors import ClaimLost
s = search()
until_told(s.current)
for write in (lambda: s.save_checkpoint({}), lambda: s.finish_combination(7)):
    try:
        write()
    except ClaimLost as lost:
        print(lost)
assert not list(FOLDER.glob("ledger/checkpoints/0/checkpoint.pt"))
s.get_new_combination()
s.finish_combination(0.5)
"""
    )
    scripts.say("cancel", 0)
    outcome = scripts.end(script)
    assert outcome.code == 0, outcome.output
    assert outcome.output.count("trial 0: attempt 1 no longer holds the trial") == 2
    assert [(trial.state.value, trial.metric) for trial in scripts.trials()] == [
        ("cancelled", None),
        ("finished", 0.5),
    ]


def test_stop_lets_the_trial_finish_and_ends_the_loop(scripts):
    script = scripts.started(
        """
s = search()
for trial in s:
    started()
    go_on()
    s.finish_combination(0.5)
print("the end")
"""
    )
    scripts.say("stop")
    scripts.go_on()
    outcome = scripts.end(script)
    assert outcome.code == 0, outcome.output
    assert "the end" in outcome.output
    assert "a person stopped the search" in outcome.output
    assert scripts.states() == ["finished"]


@pytest.mark.parametrize("listens", [True, False])
def test_stop_now_gives_the_trial_back(scripts, listens):
    grace, body = (
        (60, "until_told(s.current); sys.exit(5)") if listens else (0.3, "started(); time.sleep(60)")
    )
    script = scripts.started(f"s = search(grace={grace})\n{body}")
    scripts.say("stop", "--now")
    assert scripts.end(script).code == (5 if listens else -signal.SIGTERM)
    (trial,) = scripts.trials()
    assert (trial.state.value, trial.error) == ("released", "dahps stop --now: its worker had to end")


def test_a_paused_search_makes_the_script_wait(scripts):
    script = scripts.started(
        """
s = search(k=2)
started()
go_on()
s.finish_combination(0.5)
s.get_new_combination()
s.finish_combination(1)
"""
    )
    scripts.say("pause")
    scripts.go_on()
    wait_until(lambda: scripts.ledger.worker_counts()["waiting"] == 1, 60, "the script to wait")
    assert scripts.states() == ["finished"]
    scripts.say("resume")
    assert scripts.end(script).code == 0
    assert scripts.states() == ["finished", "finished"]


def test_a_script_that_waits_is_ended_by_a_signal_and_holds_nothing(scripts):
    scripts.run("s = search()\ns.release()")
    scripts.say("pause")
    script = scripts.start("s = search(grace=30)\nassert s.combination is None")
    wait_until(lambda: scripts.ledger.worker_counts()["waiting"] == 1, 60, "the script to wait")
    script.send_signal(signal.SIGTERM)
    assert scripts.end(script).code == 0
    assert scripts.states() == ["released"]
    assert scripts.ledger.worker_counts()["waiting"] == 0


def test_what_the_ledger_cannot_take_is_kept_and_recovered(scripts):
    outcome = scripts.run(
        """
s = search(patience=0.2)
(FOLDER / "ledger").rename(FOLDER / "away")
s.finish_combination(0.5)
"""
    )
    assert outcome.code == 1
    assert "dahps recover" in outcome.output
    (scripts.folder / "away").rename(scripts.folder / "ledger")
    assert scripts.states() == ["running"]
    scripts.say("recover")
    assert [(trial.state.value, trial.metric) for trial in scripts.trials()] == [("finished", 0.5)]


def test_a_stopped_script_that_comes_back_after_its_lease_is_refused(scripts):
    script = scripts.started("s = search()\nstarted()\ngo_on()\ns.finish_combination(7)")
    os.kill(script.pid, signal.SIGSTOP)
    code = "s = search()\nfor trial in s: s.finish_combination(trial.attempt)"
    assert scripts.run(code).code == 0
    scripts.go_on()
    os.kill(script.pid, signal.SIGCONT)
    outcome = scripts.end(script)
    assert outcome.code == 1
    assert "trial 0: attempt 1 no longer holds the trial" in outcome.output
    assert [trial.metric for trial in scripts.trials()] == [2, 1, 1]
