"""Commands that are given a ledger."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from click.shell_completion import CompletionItem

from dahps_core.ledger import Ledger


def _complete_folder(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="dir")]


#: The argument alone, for commands that need no sound ledger..
ledger_argument = click.argument("ledger", metavar="LEDGER", shell_complete=_complete_folder)


def on_ledger(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command whose first argument is LEDGER; the function receives the open ledger."""

    @ledger_argument
    @wraps(function)
    def opened(ledger: str, **options: Any) -> None:
        with Ledger.open(ledger) as it:
            function(it, **options)

    return opened
