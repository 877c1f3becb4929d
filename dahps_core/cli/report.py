"""`dahps report`: the search as one page."""

from __future__ import annotations

from pathlib import Path

import click

from dahps_core.cli.on_ledger import on_ledger
from dahps_core.ledger import Ledger


@click.command()
@on_ledger
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True
)
def report(ledger: Ledger, output: Path) -> None:
    """Write what the search has found so far: one page of HTML that needs no network.

    It shows the best over time, what each level of the space does to the metric and how much it matters, the
    tree, what each worker ran, and all trials. Of more than 50,000 trials it shows a sample, and says how
    it was drawn. It needs `pip install 'dahps[report]'`.
    """
    from dahps_core.report import write_report

    sample = write_report(ledger, output)
    print(output.resolve())
    if sample:
        print(sample)
