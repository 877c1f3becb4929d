"""What the heartbeats of 1,000 workers cost the ledger in the same folder.

1,000 hearts beat every 15 s, spread evenly, from a few processes, while others claim and finish as fast as
they can; in turns with and without hearts, so that a noisy machine is noisy for both. Prints the trials a
second of each, the median of the rounds' ratios, and the touches a second that were reached.
"""

import multiprocessing
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from stress import SEARCH, services_of

from dahps_core import Ledger
from dahps_core.ledger.folder.heartbeat import Heart

N_HEARTS = 1000
EVERY_S = 15.0
N_BEATING_PROCESSES = 4
N_CLAIMING_PROCESSES = 8
N_ROUNDS = 6
SECONDS = 2.0


def beat(folder: Path, hearts: range, n_touches, ended) -> None:
    """Touch one heart's file after the other, so that each is touched every `EVERY_S`."""
    beating = [Heart(folder, f"worker-{number}") for number in hearts]
    due = time.monotonic()
    while True:
        for heart in beating:
            due += EVERY_S / len(beating)
            if ended.wait(max(0.0, due - time.monotonic())):
                return
            heart.beat()
            n_touches.value += 1


@contextmanager
def hearts_beating(folder: Path):
    """While inside, all hearts beat; gives the function that tells how many touches there were."""
    context = multiprocessing.get_context("fork")
    ended = context.Event()
    touches = [context.RawValue("L", 0) for _ in range(N_BEATING_PROCESSES)]
    processes = [
        context.Process(target=beat, args=(folder, range(first, N_HEARTS, N_BEATING_PROCESSES), count, ended))
        for first, count in enumerate(touches)
    ]
    for process in processes:
        process.start()
    try:
        yield lambda: sum(count.value for count in touches)
    finally:
        ended.set()
        for process in processes:
            process.join()


def trials_per_s(folder: Path) -> float:
    services = services_of(folder, N_CLAIMING_PROCESSES, SECONDS)
    return sum(service.n_trials for service in services) / SECONDS


def touch_all(folder: Path) -> None:
    """A file is made once in a worker's life, and touched ever after."""
    for number in range(N_HEARTS):
        Heart(folder, f"worker-{number}").beat()


def both_rates(folder: Path) -> tuple[list[float], list[float], float]:
    """The trials a second of each round without and with hearts, and the touches a second."""
    without, with_hearts, n_touches, seconds = [], [], 0, 0.0
    for _ in range(N_ROUNDS):
        without.append(trials_per_s(folder))
        with hearts_beating(folder) as touches_so_far:
            started = time.monotonic()
            with_hearts.append(trials_per_s(folder))
            n_touches += touches_so_far()
            seconds += time.monotonic() - started
    return without, with_hearts, n_touches / seconds


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Ledger.join(folder, SEARCH).close()  # hearts beat where there is a ledger
        touch_all(folder)
        without, with_hearts, touches = both_rates(folder)
    ratio = statistics.median(with_ / before for before, with_ in zip(without, with_hearts, strict=True))
    print(f"{N_CLAIMING_PROCESSES} processes, without hearts: {statistics.median(without):.0f} trials/s")
    print(
        f"with {N_HEARTS:,} hearts: {statistics.median(with_hearts):.0f} trials/s, {touches:.0f} touches/s "
        f"of {N_HEARTS / EVERY_S:.0f} asked for"
    )
    print(f"ratio: {ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
