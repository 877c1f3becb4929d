"""What a ledger of a million finished trials costs beside one of a hundred: claims, opening, `dahps status`.

And what a claim with promotions costs among 100,000 trials beside one among a hundred: 1.5 times at most.

Both ledgers are asked in turns, so that a noisy machine is noisy for both. Prints the medians and their
ratios, each beside its bound: at a million trials nothing may cost 1.2 times what it costs at a hundred,
and the status, a process of its own from start to end, must be there within a second.
"""

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from stress import SEARCH, claim, finished, register, verdict

from dahps_core import Ledger, Search
from dahps_core.strategies.brackets import Brackets

# The one place outside the ledger that knows its tables is the tests' own.
sys.path.insert(0, str(Path(__file__).parents[1] / "ledger"))
from ledger_support import fill, fill_rungs

SIZES = (100, 1_000_000)
N_CLAIMS = 800
N_OPENINGS = 200
N_STATUSES = 11

LARGEST_RATIO = 1.2
SIZES_WITH_LEVELS = (100, 100_000)
LARGEST_RATIO_WITH_LEVELS = 1.5
LONGEST_STATUS_S = 1.0

ROW = "{:>14}  {:>10}  {:>10}  {:>16}"


def claim_and_finish(ledger: Ledger, worker: str) -> None:
    # A third of them comes into the top of their rung, as it should be.
    metric = random.choice((0.0, 3e9, 3e9)) + random.random()
    ledger.end_if_held(replace(finished(claim(ledger, worker)), metric=metric, result=metric))


def open_and_close(folder: Path) -> None:
    """Opening alone reads what the ledger is of; the number of trials is the cheapest look at them."""
    with Ledger.open(folder) as ledger:
        assert ledger.n_drawn >= min(SIZES)


def status(folder: Path) -> None:
    command = [sys.executable, "-m", "dahps_core", "status", folder]
    subprocess.run(command, check=True, capture_output=True)


def medians_s(calls: list[Callable[[], None]], n_rounds: int) -> list[float]:
    """The median seconds of each call, all called in turns."""
    seconds: list[list[float]] = [[] for _ in calls]
    order = list(zip(calls, seconds, strict=True))
    for _ in range(n_rounds):
        for call, its_seconds in order:
            started = time.perf_counter()
            call()
            its_seconds.append(time.perf_counter() - started)
        order.reverse()  # whoever is second may profit from the first, or suffer
    return [statistics.median(its_seconds) for its_seconds in seconds]


def filled(folder: Path, n_trials: int) -> Path:
    Ledger.join(folder, SEARCH).close()
    started = time.monotonic()
    fill(folder, n_trials, "finished")
    size_mb = (folder / "ledger.db").stat().st_size / 1e6
    print(f"{n_trials:,} trials: {size_mb:.0f} MB, filled in {time.monotonic() - started:.0f} s", flush=True)
    return folder


def filled_rungs(folder: Path, n_trials: int) -> Path:
    brackets = Brackets.of(max_resource=81, brackets=1)
    Ledger.join(folder, Search(SEARCH.space, "asha", brackets=brackets)).close()
    fill_rungs(folder, n_trials, brackets)
    return folder


def claims_s(folders: list[Path]) -> list[float]:
    with ExitStack() as opened:
        ledgers = [opened.enter_context(Ledger.open(folder)) for folder in folders]
        asking = [(ledger, register(ledger)) for ledger in ledgers]
        return medians_s([lambda pair=pair: claim_and_finish(*pair) for pair in asking], N_CLAIMS)


def print_row(name: str, small_s: float, large_s: float, largest_ratio: float = LARGEST_RATIO) -> None:
    ratio = large_s / small_s
    figures = (f"{1000 * small_s:.2f} ms", f"{1000 * large_s:.2f} ms")
    print(ROW.format(name, *figures, f"{ratio:.2f} {verdict(ratio <= largest_ratio)}"), flush=True)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folders = [filled(Path(name) / str(size), size) for size in SIZES]
        print(ROW.format("", *(f"{size:,}" for size in SIZES), f"ratio <= {LARGEST_RATIO}"))
        print_row("claim + finish", *claims_s(folders))
        print_row("open", *medians_s([lambda f=f: open_and_close(f) for f in folders], N_OPENINGS))
        small_s, large_s = medians_s([lambda f=f: status(f) for f in folders], N_STATUSES)
        print_row("dahps status", small_s, large_s)
        folders = [filled_rungs(Path(name) / f"rungs{size}", size) for size in SIZES_WITH_LEVELS]
        print(ROW.format("", *(f"{size:,}" for size in SIZES_WITH_LEVELS), "ratio <= 1.5"))
        print_row("claim, levels", *claims_s(folders), LARGEST_RATIO_WITH_LEVELS)
    kept = verdict(large_s < LONGEST_STATUS_S)
    print(f"dahps status at {SIZES[-1]:,} trials: {large_s:.2f} s (under {LONGEST_STATUS_S:.0f} s: {kept})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
