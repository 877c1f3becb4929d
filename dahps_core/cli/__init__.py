"""The `dahps` command: inspecting and steering a search, and testing its storage."""

from dahps_core.cli.commands import main

__all__ = ["main"]
