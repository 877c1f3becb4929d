"""`dahps status`: how far the search is, who works on it, what is wrong, and its best trial."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from dahps_core.cli.on_ledger import on_ledger
from dahps_core.cli.overview import overview
from dahps_core.cli.text import table
from dahps_core.ledger import Ledger
from dahps_core.ledger.rows import strict
from dahps_core.overrides import printable, shown_overrides
from dahps_core.pace import shown_duration
from dahps_core.trial import Average

#: So many workers are shown to people; `--json` tells all.
_WORKERS_SHOWN = 30


@click.command()
@on_ledger
@click.option("--json", "is_for_programs", is_flag=True, help="for programs")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=5.0,
    metavar="[SECONDS]",
    help="again and again (every 5 seconds), until Ctrl-C",
)
def status(ledger: Ledger, is_for_programs: bool, watch: float | None) -> None:
    """How far the search is, who works on it, what is wrong, and its best trial.

    It only reads, and keeps no worker waiting. Rates and the expected end are those of the last hour. How
    long a worker is silent is judged by this host's clock.
    """
    if watch is None:
        print(_told(ledger, is_for_programs))
    elif is_for_programs or not sys.stdout.isatty():
        while True:
            print(_told(ledger, is_for_programs), end="\n\n", flush=True)
            time.sleep(watch)
    else:
        _live(ledger, watch)


def _told(ledger: Ledger, is_for_programs: bool) -> str:
    known = overview(ledger)
    return json.dumps(strict(known), indent=2) if is_for_programs else "\n".join(_lines(known))


def _live(ledger: Ledger, every_s: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            live.update(Text(_told(ledger, is_for_programs=False), overflow="fold"), refresh=True)
            time.sleep(every_s)


def _lines(known: dict[str, Any]) -> Iterator[str]:
    for name, text in _rows(known):  # whole, however long: a path that is cut is of no use
        yield f"{name:8}{printable(text)}".rstrip()
    if known["present"]:
        yield ""
        yield from table(
            ["host", "process", "job", "trial", "last beat", "state"],
            (_worker_cells(worker) for worker in known["present"][:_WORKERS_SHOWN]),
        )
        if (n_more := len(known["present"]) - _WORKERS_SHOWN) > 0:
            yield f"and {n_more} more"
    if known["troubles"]:
        yield ""
        yield from (f"! {printable(trouble)}" for trouble in known["troubles"])


def _rows(known: dict[str, Any]) -> Iterator[tuple[str, str]]:
    repetitions = f" x {known['repetitions']} repetitions" if known["repetitions"] > 1 else ""
    yield "ledger", known["ledger"]
    yield "search", f"{known['strategy']}, seed {known['seed']}, {known['direction']}"
    yield "space", f"{known['space_size']:,} combinations{repetitions}, {known['drawn']:,} trials drawn"
    if sys.stdout.isatty():
        yield "", _bar(known)
    yield "trials", _listed(known["trials"])
    if known["levels"]:
        yield "levels", _shown_levels(known["levels"])
    yield "workers", _listed(known["workers"])
    if known["finished_per_hour"] is not None:
        yield "pace", _shown_pace(known)
    best = known["best"]
    yield "best", "none yet" if best is None else _shown_best(best)
    if best is not None:
        yield "", shown_overrides(best["combination"])
        yield "", best["output_dir"] or ""
    if known["paused"]:
        yield "paused", shlex.join(["dahps", "resume", known["ledger"]]) + " goes on"


def _bar(known: dict[str, Any]) -> str:
    width = max(10, min(72, shutil.get_terminal_size().columns - 20))
    total = max(1, known["space_size"] * known["repetitions"])
    n_finished, n_running = known["trials"]["finished"], known["trials"]["running"]
    filled = width * min(n_finished, total) // total
    running = min(width - filled, -(-width * n_running // total))
    return f"{'█' * filled}{'▒' * running}{'░' * (width - filled - running)} {n_finished / total:.1%}"


def _shown_pace(known: dict[str, Any]) -> str:
    per_hour = known["finished_per_hour"]
    pace = f"{per_hour:,.{0 if per_hour >= 100 else 1}f} trials finished an hour"
    left = known["seconds_left"]
    return pace if left is None else f"{pace}, the whole space in {shown_duration(left)}"


def _worker_cells(worker: dict[str, Any]) -> list[str]:
    silent = worker["silent_s"]
    return [
        worker["host"],
        str(worker["pid"]),
        worker["job"] or "",
        "" if worker["trial"] is None else f"#{worker['trial']}",
        "none" if silent is None else f"{shown_duration(silent)} ago",
        "silent" if worker["is_silent"] else worker["state"],
    ]


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


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items())
