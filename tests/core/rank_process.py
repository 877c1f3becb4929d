"""One rank of a job, as a process: FOLDER RANK SIZE LIMIT_S BEHAVIOUR ...; rank 0 runs one trial for each."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import RanksError
from dahps_core.model.combination import Combination
from dahps_core.ranks import Leader, follow
from dahps_core.trial.current import Trial, current_trial, evaluating
from tests.support import wait_until

FOLDER = Path(sys.argv[1])
RANK, SIZE = int(sys.argv[2]), int(sys.argv[3])
LIMIT_S = float(sys.argv[4])
BEHAVIOURS = sys.argv[5:]


def write(name, content=""):
    unfinished = FOLDER / f"{name}.{RANK}.unfinished"
    unfinished.write_text(content)
    unfinished.rename(FOLDER / f"{name}.{RANK}")


def all_have_written(name):
    return all((FOLDER / f"{name}.{rank}").exists() for rank in range(SIZE))


def evaluate():
    """What the trial's own behaviour says; each is `name` or `name@RANK`, and the others hang."""
    trial = current_trial()
    name, _, rank = trial.combination["behaviour"].partition("@")
    if rank and int(rank) != RANK:
        name = "hang"
    write(f"started-{trial.number}", str(os.getpid()))
    return float(globals()[name](trial) or 0)


def hang(trial):
    while True:
        signal.pause()


def place(trial):
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    elastic = [name for name in os.environ if name.startswith("TORCHELASTIC")]
    facts = [
        trial.number,
        trial.attempt,
        trial.repetition,
        dict(trial.combination),
        str(trial.checkpoint_dir),
    ]
    write(f"place-{trial.number}", json.dumps([{name: os.environ[name] for name in names}, elastic, facts]))
    return RANK + 10


def spawn(trial):
    if RANK:
        command = [sys.executable, "-m", "tests.core.spawned", str(RANK)]
        write(f"spawned-{trial.number}", subprocess.check_output(command, text=True))


def nothing(trial):
    return 1.0


def fail(trial):
    wait_until_all_have_started(trial)
    raise ValueError(f"the loss of rank {RANK} is gone")


def write_everywhere(trial):
    """To all that a rank has open but its output."""
    wait_until_all_have_started(trial)
    for descriptor in range(3, 60):
        with suppress(OSError):
            os.write(descriptor, b"garbage\n")
    return 1.0


def wait_until_all_have_started(trial):
    """What ends on all ranks when one of them ends is to be there first."""
    wait_until(lambda: all_have_written(f"started-{trial.number}"), 60, "the start of all")


def be_killed(trial):
    wait_until_all_have_started(trial)
    os.kill(os.getpid(), signal.SIGKILL)


def return_beside_one_that_hangs(trial):
    if RANK:
        hang(trial)


def fail_in_the_end(trial):
    if RANK == 2:
        wait_until(lambda: has_ended(trial, 0), 60, "the end of rank 0")
        fail(trial)


def leave_a_process_behind(trial):
    if (pid := os.fork()) == 0:
        os.setpgid(0, 0)
        signal.pause()
    write("left-behind", str(pid))
    hang(trial)


def leave_when_preempted(trial):
    wait_until(lambda: trial.preempted, 60, "the preemption")
    write("left")
    if RANK == 0:  # the last one to leave saves the checkpoint
        wait_until(lambda: all_have_written("left"), 60, "the others' leave")
        wait_until(lambda: all(has_ended(trial, rank) for rank in range(1, SIZE)), 60, "the others' end")
        write("saved")
    raise SystemExit("preempted")


def has_ended(trial, rank):
    started = FOLDER / f"started-{trial.number}.{rank}"
    return started.exists() and not Path("/proc", started.read_text()).exists()


def all_reduce(trial):
    import torch.distributed

    torch.distributed.init_process_group("gloo")
    total = torch.tensor([2.0**RANK])
    torch.distributed.all_reduce(total)
    torch.distributed.destroy_process_group()
    return total.item()


def lead(batch):
    leader = Leader(batch, FOLDER, LIMIT_S)
    write("met")
    for number, behaviour in enumerate(BEHAVIOURS):
        combination = Combination([("behaviour", behaviour)])
        trial = Trial(number, 2, 1, combination, FOLDER / "checkpoints" / str(number))
        print(json.dumps([vars(run(leader, trial)), leader.lost]), flush=True)
        wait_until(lambda: not (FOLDER / "wait").exists(), 60, "the signal to go on")
        if leader.lost:
            break
    leader.end("all done")
    return f"lost: {leader.lost}"


def run(leader, trial):
    with evaluating(trial), leader.start(trial, lambda: (evaluate(), None)) as child:
        while not child.wait(0.05):
            if (FOLDER / "preempt").exists():
                trial.preempt()
            if (FOLDER / "timeout").exists():
                break
        return child.end()


def main():
    if "all_reduce" in BEHAVIOURS:
        import torch.distributed  # noqa: F401 - the children start warm
    local_rank, local_size = (0, 1) if "HOST_EACH" in os.environ else (RANK, SIZE)
    local = {"local_rank": local_rank, "local_size": local_size}
    batch = BatchJob(host=f"n{RANK}", rank=RANK, size=SIZE, key="17.0.0", **local)
    try:
        reason = lead(batch) if RANK == 0 else follow(batch, FOLDER, lambda trial: (evaluate, dict), LIMIT_S)
    except RanksError as error:
        print(error, file=sys.stderr)
        return 3
    print(reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())
