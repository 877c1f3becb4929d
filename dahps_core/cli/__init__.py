"""The `dahps` command: what a ledger holds, read without disturbing the search; and where one may live."""

from dahps_core.cli.commands import main

__all__ = ["main"]
