"""Six jobs of two ranks each on one ledger, two of which are lost in the middle of a trial."""

import subprocess
import sys
from collections import Counter

from dahps_core.model.records import TrialState
from tests.script.test_torchrun import continued

N_JOBS, N_TRIALS = 6, 30
#: Trials in which one rank stops, at the first attempt, and the other waits for it: their jobs are killed.
DOOMED = {5: "stay_away@0#1", 23: "stay_away@1#1"}


def test_each_trial_finishes_once_though_jobs_are_killed_and_theirs_are_resumed(torchrun):
    behaviours = [DOOMED.get(number, f"train_on {number}") for number in range(N_TRIALS)]
    jobs = [torchrun.start(*behaviours) for _ in range(N_JOBS)]
    for note in torchrun.await_notes("waits", len(DOOMED)):
        torchrun.kill(next(job for job in jobs if note["pid"] in torchrun.ranks(job)))
    assert sorted(job.wait(120) for job in jobs) == [-9] * len(DOOMED) + [0] * (N_JOBS - len(DOOMED))

    trials = torchrun.trials()
    assert Counter(trial.state for trial in trials.values()) == {TrialState.FINISHED: N_TRIALS}
    assert {trial.number for trial in trials.values()} == set(range(N_TRIALS))
    starts = Counter((note["number"], note["attempt"], note["rank"]) for note in torchrun.notes("starts"))
    attempts = {number: 2 if number in DOOMED else 1 for number in range(N_TRIALS)}
    assert starts == {
        (number, attempt, rank): 1
        for number, count in attempts.items()
        for attempt in range(1, count + 1)
        for rank in (0, 1)
    }
    for behaviour, trial in trials.items():
        assert torchrun.history(trial.number) == continued(1, 2 if behaviour in DOOMED.values() else 1)
    subprocess.run([sys.executable, "-m", "dahps_core", "check", torchrun.folder / "ledger"], check=True)
