"""All commands of `dahps`, each imported when it is used; and how any of them ends."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from dahps_core.errors import DahpsError
from dahps_core.text.printing import printable, printable_lines

#: Command -> the module that holds it, and what it does.
COMMANDS = {
    "status": ("status", "show progress and the best trial"),
    "trials": ("trials", "list trials: as a table, csv, json or parquet"),
    "best": ("trials", "show the best trials"),
    "show": ("show", "show everything about one trial"),
    "logs": ("show", "show the logs of one trial"),
    "space": ("space", "show the tree of a search space, with its combinations counted"),
    "report": ("report", "write the results so far as one page that needs no network"),
    "dashboard": ("dashboard", "serve a live page of the search on this machine: Optuna's dashboard"),
    "pause": ("control", "pause a search: running trials finish, and no new ones start"),
    "resume": ("control", "resume a paused search"),
    "stop": ("control", "stop all multiruns: workers finish their current trials and exit"),
    "cancel": ("control", "cancel trials, also running ones"),
    "retry": ("control", "rerun failed, lost or cancelled trials before all new ones"),
    "enqueue": ("control", "queue combinations before all other new ones"),
    "check": ("check", "check a ledger's integrity; list every violation"),
    "recover": (
        "check",
        "import results that workers could not record; rebuild a damaged ledger as a new one",
    ),
    "doctor": ("doctor", "test whether a file system is safe for a ledger"),
    "completion": ("completion", "print the completion script for bash, zsh or fish"),
}

_DESCRIPTION = """Look at a search, and steer it, from any host while it runs. LEDGER is the ledger's folder.

The exit status is 0; 1 with one line on standard error if something is wrong with the ledger or with what was
requested; 2 if the command line cannot be read; 130 after Ctrl-C."""

#: The exit status of what a Ctrl-C has ended.
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status, which its help explains."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a terminal that lacks a value's characters
    try:
        _commands.main(arguments, prog_name="dahps")
    except SystemExit as end:
        return int(end.code or 0)
    except OSError as error:
        _discard_output()
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        print(f"dahps: {printable(f'{place}{error.strerror or error}')}.", file=sys.stderr)
        return 1
    raise AssertionError("click ends by SystemExit")


class _Refusal(click.ClickException):
    """What a command ends with when something is wrong; its exit status is 1."""

    def show(self, file: Any = None) -> None:
        print(f"dahps: {self.message}", file=sys.stderr)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"dahps_core.cli.{COMMANDS[name][0]}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, does) for name, (_, does) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        named = [(name, does) for name, (_, does) in COMMANDS.items() if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=does) for name, does in named] + options

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with _usage_errors_escaped():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> None:
        try:
            with _usage_errors_escaped():
                super().invoke(ctx)
            sys.stdout.flush()
        except DahpsError as error:
            raise _Refusal(str(error)) from error
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:  # the reader, `head` say, has seen enough
            _discard_output()


@contextmanager
def _usage_errors_escaped() -> Iterator[None]:
    """Escape what click's own errors quote of the command line."""
    try:
        yield
    except click.UsageError as error:
        text = error.format_message()
        if (escaped := printable_lines(text)) == text:
            raise
        raise click.UsageError(escaped, error.ctx) from None


def _discard_output() -> None:
    # What is left in its buffer would be written again at exit, and fail again.
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_commands = click.version_option(package_name="dahps", message="%(prog)s %(version)s")(
    _Commands(
        "dahps",
        help=_DESCRIPTION,
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=False,
    )
)
