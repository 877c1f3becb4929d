"""`dahps dashboard`: the search as a live page."""

from __future__ import annotations

import click

from dahps_core.cli.ledger_argument import ledger_argument
from dahps_core.cli.text import say


@click.command()
@ledger_argument
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="of the loopback address; any free one otherwise"
)
def dashboard(ledger: str, port: int) -> None:
    """Show the search in a browser while it runs, with Optuna's dashboard, until Ctrl-C.

    It only reads. It listens on this machine alone, where all who are logged in can see it. It needs
    `pip install 'dahps[dashboard]'`.
    """
    from dahps_core.dashboard.serving import addresses, make_dashboard

    with make_dashboard(ledger, port) as server:
        say(*addresses(server.server_port), "Ctrl-C ends it.")
        server.serve_forever()
