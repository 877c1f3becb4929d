"""`dahps check` and `dahps recover`: whether a ledger is sound, and what can be saved if not."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from dahps_core.ledger import Ledger
from dahps_core.ledger.checking import breaches, is_damaged
from dahps_core.ledger.rebuilding import rebuild
from dahps_core.ledger.taking_in import take_in, unrecorded_files


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the two commands."""
    check = commands.add_parser("check", help="every invariant of a ledger, and each breach")
    check.add_argument("ledger", metavar="LEDGER", type=Path, help="the ledger's folder")
    check.set_defaults(run=_check)
    recover = commands.add_parser(
        "recover", help="take in what workers could not record; rebuild a damaged ledger as a new one"
    )
    recover.add_argument("ledger", metavar="LEDGER", type=Path, help="the ledger's folder")
    recover.add_argument(
        "places",
        metavar="PATH",
        type=Path,
        nargs="*",
        help="where to look for dahps-unrecorded.json; the folders of the ledger's multiruns otherwise",
    )
    recover.add_argument(
        "--into",
        metavar="FOLDER",
        type=Path,
        help="of a new ledger, if this one is damaged: LEDGER.recovered",
    )
    recover.set_defaults(run=_recover)


def _check(options: argparse.Namespace) -> int:
    n_breaches = 0
    for breach in breaches(options.ledger):
        print(breach, flush=True)
        n_breaches += 1
    print(f"{n_breaches} breaches" if n_breaches else f"{options.ledger}: sound")
    return 1 if n_breaches else 0


def _recover(options: argparse.Namespace) -> int:
    folder: Path = options.ledger
    if is_damaged(folder):
        folder = options.into or folder.with_name(f"{folder.name}.recovered")
        print(*rebuild(options.ledger, folder), sep="\n", flush=True)
    with Ledger.open(folder) as ledger:
        for told in _taken_in(ledger, options.places):
            print(told, flush=True)
    return 0


def _taken_in(ledger: Ledger, places: list[Path]) -> Iterator[str]:
    found = list(unrecorded_files(places or ledger.run_folders()))
    for path in found:
        yield take_in(ledger, path)
    if not found:
        yield "nothing that could not be recorded was found"
