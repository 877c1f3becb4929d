"""`dahps status`: progress, workers, problems, and the best trial."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from dahps_core.cli.ledger_argument import on_ledger
from dahps_core.cli.overview import overview
from dahps_core.cli.text import drawable, folded, table
from dahps_core.ledger import Ledger
from dahps_core.ledger.progress import shown_amount
from dahps_core.ledger.views.export import strict
from dahps_core.model.pace import shown_duration
from dahps_core.model.records import Average
from dahps_core.space.overrides import shown_overrides
from dahps_core.text.plural import counted, counted_combinations
from dahps_core.text.printing import printable

#: How many workers are shown to people at most, and at least where a terminal is low; `--json` has all.
_WORKERS_SHOWN = 30
_FEW_WORKERS = 3


@click.command()
@on_ledger
@click.option("--json", "is_for_programs", is_flag=True, help="for programs")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=5.0,
    metavar="[SECONDS]",
    help="repeatedly (every 5 seconds), until Ctrl-C",
)
def status(ledger: Ledger, is_for_programs: bool, watch: float | None) -> None:
    """Show the progress of a search, its workers, its problems, and its best trial.

    It only reads, and delays no worker. Rates and the expected end are from the last hour. What is left is
    what the multiruns with live workers may run, or else the last one. A worker is silent if it has sent no
    heartbeat for a full lease: by the storage's clock, which requires a temporary file in LEDGER, or by this
    host's where you may not write.
    """
    if watch is None:
        print(_described(ledger, is_for_programs))
    elif is_for_programs or not sys.stdout.isatty():
        while True:
            print(_described(ledger, is_for_programs), end="\n\n", flush=True)
            time.sleep(watch)
    else:
        _live(ledger, watch)


def _described(ledger: Ledger, is_for_programs: bool) -> str:
    known = overview(ledger)
    return json.dumps(strict(known), indent=2) if is_for_programs else "\n".join(_lines(known))


def _live(ledger: Ledger, every_s: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    # Without redirection: it hides how wide the terminal is, and what it can show.
    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while True:
            live.update(Text(_described(ledger, is_for_programs=False), overflow="fold"), refresh=True)
            time.sleep(every_s)


def _lines(known: dict[str, Any]) -> list[str]:
    lines = []
    for problem in known["troubles"]:
        first, *more = folded(printable(problem), 2)
        lines += [f"! {first}", *(f"  {line}" for line in more)]
    lines += [""] * bool(lines)
    lines += [f"{name:8}{printable(text)}".rstrip() for name, text in _rows(known)]
    return [*lines, *_worker_lines(known["present"], len(lines))]


def _worker_lines(workers: Sequence[dict[str, Any]], n_above: int) -> Iterator[str]:
    """Return the workers that fit a terminal's height, so that the problems at the top stay visible."""
    if not workers:
        return
    n_fitting = shutil.get_terminal_size().lines - n_above - 4 if sys.stdout.isatty() else _WORKERS_SHOWN
    n_shown = min(_WORKERS_SHOWN, max(_FEW_WORKERS, n_fitting))
    yield ""
    titles = ["host", "process", "job", "trial", "last beat", "state"]
    yield from table(titles, map(_worker_cells, workers[:n_shown]))
    if len(workers) > n_shown:
        yield f"and {len(workers) - n_shown} more"


def _rows(known: dict[str, Any]) -> Iterator[tuple[str, str]]:
    combinations = counted_combinations(known["space_size"], known["repetitions"])
    yield "ledger", known["ledger"]
    yield "search", f"{known['strategy']}, seed {known['seed']}, {known['direction']} {known['metric'] or ''}"
    yield "space", f"{combinations}, {counted(known['drawn'], 'trial')} drawn"
    if sys.stdout.isatty():
        yield "", _bar(known)
    yield "budget", _shown_budget(known)
    yield "trials", ", ".join(_listed(known["trials"])) or "none yet"
    if known["levels"]:
        yield "levels", _shown_levels(known["levels"])
    yield "workers", _shown_workers(known)
    if known["finished_per_hour"] is not None and _anybody_lives(known):
        yield "pace", _shown_pace(known)
    best = known["best"]
    yield "best", _none_yet(known) if best is None else _shown_best(best)
    if best is not None:
        yield from (("", line) for line in folded(shown_overrides(best["combination"]), 8))
        yield "", best["output_dir"] or ""


def _bar(known: dict[str, Any]) -> str:
    width = max(10, min(72, shutil.get_terminal_size().columns - 20))
    budget = known["budget"] or 1
    filled = int(width * known["done"] / budget)
    running = min(width - filled, math.ceil(width * known["running"] / budget))
    signs = drawable("█▒░", "#+.")
    counts = filled, running, width - filled - running
    bar = "".join(sign * count for sign, count in zip(signs, counts, strict=True))
    return f"{bar} {known['done'] / budget:.1%}"


def _shown_budget(known: dict[str, Any]) -> str:
    """Return how far the search is: of the branches alone that the workers draw from, if there are such."""
    done, left, budget = (shown_amount(known[name]) for name in ("done", "left", "budget"))
    where = ""
    if known["branches"] is not None:
        where = f" of {' and '.join(shown_overrides(one) for one in known['branches'])}"
    return f"{budget} {known['unit']}{where}: {done} done, {left} left"


def _shown_pace(known: dict[str, Any]) -> str:
    per_hour = known["finished_per_hour"]
    pace = f"{per_hour:,.{0 if per_hour >= 100 else 1}f} trials/h"
    if (left := known["seconds_left"]) is not None:
        pace += f", about {shown_duration(left)} left"
    if (left := known["max_time_left_s"]) is not None:
        pace += f"; max_time ends in {shown_duration(left)}"
    return pace


def _shown_workers(known: dict[str, Any]) -> str:
    there = Counter(_state(worker) for worker in known["present"])
    gone = sum(known["workers"].values()) - there.total()
    return ", ".join([*_listed(there), *([f"{gone:,} gone"] if gone else [])]) or "none yet"


def _anybody_lives(known: dict[str, Any]) -> bool:
    return not all(worker["is_silent"] for worker in known["present"])


def _state(worker: dict[str, Any]) -> str:
    return "silent" if worker["is_silent"] else str(worker["state"])


def _worker_cells(worker: dict[str, Any]) -> list[str]:
    silent = worker["silent_s"]
    return [
        worker["host"],
        str(worker["pid"]),
        worker["job"] or "",
        "" if worker["trial"] is None else f"#{worker['trial']}",
        "none" if silent is None else f"{shown_duration(silent)} ago",
        _state(worker),
    ]


def _none_yet(known: dict[str, Any]) -> str:
    if known["repetitions"] == 1 or known["levels"]:
        return "none yet"
    return f"none yet: no combination has metrics of all its {known['repetitions']:,} repetitions"


def _shown_best(best: dict[str, Any]) -> str:
    where = "" if best["resource"] is None else f" at {best['resource']}"
    metric = Average(**best["average"]) if "average" in best else best["metric"]
    return f"{metric}{where} (trial #{best['number']})"


def _shown_levels(levels: list[dict[str, Any]]) -> str:
    return "; ".join(
        f"{one['resource']}: {one['n_ended']} ended"
        + f", {one['n_promoted']} promoted" * (one is not levels[-1])
        for one in levels
    )


def _listed(counts: Mapping[str, int]) -> list[str]:
    return [f"{count:,} {state}" for state, count in counts.items() if count]
