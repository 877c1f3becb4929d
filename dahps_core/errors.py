"""Every error that DAHPS raises: what is wrong, where, and how to fix it.

One root, so that a command can distinguish a user's mistake from a defect: a `DahpsError` is printed
without a traceback.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dahps_core.text.plural import counted
from dahps_core.text.printing import printable, printable_lines

#: A generated tree can have a fault on each of its levels; its cause is among the first.
FAULTS_SHOWN = 100


class DahpsError(Exception):
    """The root of all errors of DAHPS.

    Args:
        what: What is wrong, as a sentence without a full stop.
        where: The place: a path in the search space, a file, a trial.
        hint: How to fix it, as a sentence without a full stop.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what = what
        self.where = where
        self.hint = hint
        place = f"{printable(where)}: " if where else ""
        advice = f". {hint}" if hint else ""
        end = "" if advice.endswith("?") else "."
        # Paths and values in it do nothing to a terminal, however it is shown.
        super().__init__(place + printable_lines(f"{what}{advice}{end}"))

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are rebuilt from `args` when they cross a process; ours take keywords.
        return (_rebuild, (type(self), self.__dict__.copy(), self.args))


def _rebuild(cls: type[DahpsError], state: dict[str, object], args: tuple[object, ...]) -> DahpsError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


@dataclass(frozen=True)
class Fault:
    """One fault of a search space: where it is, what is wrong, and how to fix it."""

    path: str
    what: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.what}" + (f" ({self.hint})" if self.hint else "")


class SearchSpaceError(DahpsError):
    """A search space with faults; all of them at once, in `faults`, and the first ones in the message."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        shown = self.faults[:FAULTS_SHOWN]
        lines = "".join(f"\n  {number}. {fault}" for number, fault in enumerate(shown, start=1))
        if len(shown) < len(self.faults):
            lines += f"\n  and {len(self.faults) - len(shown)} more"
        super().__init__(
            f"the search space has {counted(len(self.faults), 'fault')}:{lines}\nNothing was run"
        )


class ConfigurationError(DahpsError):
    """An option of the sweeper or of a command with an invalid value."""


class OverrideError(DahpsError):
    """A key or a value that Hydra's override grammar cannot carry."""


class MetricError(DahpsError):
    """A training function returned something that cannot rank a trial."""


class CheckpointError(DahpsError):
    """A checkpoint that cannot be loaded."""


class RanksError(DahpsError):
    """The ranks of a job did not find each other, or have lost one of them."""


class AttemptOver(DahpsError):  # noqa: N818 - an event, as StopIteration is
    """This process was started in an attempt of a trial that has ended since."""


class SearchExhausted(DahpsError):  # noqa: N818 - an event, as StopIteration is
    """There is no combination to evaluate; the message says why."""


class LedgerError(DahpsError):
    """Anything that concerns the ledger."""


class NotALedgerError(LedgerError):
    """There is no ledger here, or the file in its place is something else."""


class LedgerVersionError(LedgerError):
    """The ledger was written by a version of DAHPS with another schema."""


class LedgerDamagedError(LedgerError):
    """The ledger's file holds what no version of DAHPS wrote there."""


class LedgerUnavailableError(LedgerError):
    """The storage refused: no permission, no space, an I/O error, or locked for too long."""


class SearchChangedError(LedgerError):
    """The ledger holds another search: its space, strategy, direction, metric or seed differs."""


class LockingChangedError(LedgerError):
    """The ledger was made with another way of locking: two ways at once would protect nothing."""


class ClaimLost(LedgerError):  # noqa: N818 - an event of a distributed system, named as the literature does
    """A write under a lost claim: the trial was released, or claimed by another worker."""


def described(error: DahpsError) -> list[str | None]:
    """Describe an error by JSON's values, for another process."""
    return [type(error).__name__, error.what, error.where, error.hint]


def rebuilt(description: Sequence[str]) -> DahpsError:
    """Return the error that `described` describes; one of an unknown kind is the storage's."""
    kind, what, where, hint = description
    known = {error.__name__: error for error in (ClaimLost, ConfigurationError, MetricError, AttemptOver)}
    return known.get(kind, LedgerUnavailableError)(what, where=where, hint=hint)


@contextmanager
def from_extra(name: str) -> Iterator[None]:
    """Import what one of the package's extras brings.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{error.name} is not installed", hint=f"Run: pip install 'dahps[{name}]'"
        ) from error
