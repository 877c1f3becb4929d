"""`dahps doctor`: test whether a storage is safe for a ledger."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from dahps_core.cli.commands import INTERRUPTED
from dahps_core.cli.text import say
from dahps_core.doctor import Options, diagnose
from dahps_core.doctor.telling import as_json, lines
from dahps_core.errors import ConfigurationError


@click.command()
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--json", "is_for_programs", is_flag=True, help="for programs")
@click.option("--together", type=int, metavar="N", help="started on N hosts by hand; 1: ignore SLURM")
@click.option(
    "--wait",
    type=float,
    default=60.0,
    metavar="SECONDS",
    help="seconds to wait for the other hosts (default: 60)",
)
@click.option(
    "--seconds", type=float, default=2.0, metavar="SECONDS", help="duration of each check (default: 2)"
)
def doctor(folder: Path, is_for_programs: bool, together: int | None, wait: float, seconds: float) -> None:
    """Find out by trying whether a ledger may live on the storage of FOLDER.

    It works for about ten seconds in a folder of its own in FOLDER, which it removes; a ledger that is there
    is not touched. The exit status is 0 if a ledger may live there as it is, else 1.

    Start it on several hosts at once, since one host cannot show whether locks hold between hosts: srun -N4
    dahps doctor FOLDER, or without SLURM on each of N hosts: dahps doctor FOLDER --together N.
    """
    if seconds <= 0 or wait < 0:
        raise ConfigurationError("--seconds and --wait cannot be negative, nor --seconds 0")
    context = click.get_current_context()
    try:
        diagnosis = diagnose(Options(folder, together, wait, seconds))
    except KeyboardInterrupt:
        print("dahps: interrupted; nothing was decided", file=sys.stderr)
        context.exit(INTERRUPTED)
    if diagnosis is None:
        return  # the first one reports
    if is_for_programs:
        print(json.dumps(as_json(diagnosis), indent=2))
    else:
        say(*lines(diagnosis))
    context.exit(int(not diagnosis.is_well))
