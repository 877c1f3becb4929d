"""`dahps check` and `dahps recover`: whether a ledger is sound, and what can be saved if not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from dahps_core.cli.ledger_argument import ledger_argument
from dahps_core.cli.text import say
from dahps_core.ledger import Ledger
from dahps_core.ledger.repair.check import is_damaged, violations
from dahps_core.ledger.repair.import_unrecorded import take_in, unrecorded_files
from dahps_core.ledger.repair.rebuild import rebuild


@click.command()
@ledger_argument
def check(ledger: str) -> None:
    """Check a ledger's integrity; list every violation. The exit status is 1 if there is one."""
    n_violations = 0
    for violation in violations(Path(ledger)):
        say(violation)
        n_violations += 1
    say(f"{n_violations} violations" if n_violations else f"{ledger}: sound")
    click.get_current_context().exit(1 if n_violations else 0)


@click.command()
@ledger_argument
@click.argument("places", metavar="[PATH]...", type=click.Path(exists=True, path_type=Path), nargs=-1)
@click.option(
    "--into",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="of a new ledger, if this one is damaged: LEDGER.recovered",
)
def recover(ledger: str, places: tuple[Path, ...], into: Path | None) -> None:
    """Take in what workers could not record; rebuild a damaged ledger as a new one.

    PATH is where to look for dahps-unrecorded.json; the folders of the ledger's multiruns otherwise.
    """
    folder = Path(ledger)
    if is_damaged(folder):
        damaged, folder = folder, into or folder.with_name(f"{folder.name}.recovered")
        say(*rebuild(damaged, folder))
    with Ledger.open(folder) as opened:
        for reported in _taken_in(opened, places):
            say(reported)


def _taken_in(ledger: Ledger, places: tuple[Path, ...]) -> Iterator[str]:
    found = list(unrecorded_files(places or ledger.run_folders()))
    for path in found:
        yield take_in(ledger, path)
    if not found:
        yield "nothing that could not be recorded was found"
