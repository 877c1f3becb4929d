"""`dahps report`: the search as one page."""

from __future__ import annotations

import re
from html import unescape
from itertools import count
from pathlib import Path

import click

from dahps_core.cli.ledger_argument import on_ledger
from dahps_core.cli.text import say
from dahps_core.ledger import Ledger
from dahps_core.text.printing import printable

#: Characters of a page within which it names its ledger.
_HEAD = 10_000


@click.command()
@on_ledger
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="default: report.html, or report-2.html if that is the page of another ledger",
)
def report(ledger: Ledger, output: Path | None) -> None:
    """Write what the search has found so far: one page of HTML that needs no network.

    It shows the best over time, what each level of the space does to the metric and how much it matters, the
    tree, what each worker ran, and all trials. Of more than 50,000 trials it shows a sample, and says how
    it was drawn. It needs `pip install 'dahps[report]'`.
    """
    from dahps_core.report import write_report

    output = (output or _own_page(ledger)).absolute()
    sample = write_report(ledger, output)
    say(str(output.resolve()))
    if sample:
        say(str(sample))


def _own_page(ledger: Ledger) -> Path:
    """Return the first name that no page of another ledger has."""
    names = (Path(f"report-{number}.html" if number > 1 else "report.html") for number in count(1))
    return next(name for name in names if _ledger_of(name) in (None, printable(str(ledger.folder.resolve()))))


def _ledger_of(page: Path) -> str | None:
    if not page.is_file():
        return None
    with page.open(encoding="utf-8", errors="replace") as file:
        named = re.search("<dt>ledger</dt><dd>(.*?)</dd>", file.read(_HEAD))
    return unescape(named[1]) if named else None
