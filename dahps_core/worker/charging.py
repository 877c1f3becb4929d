"""What becomes of a trial whose worker raises over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dahps_core.errors import LedgerError
from dahps_core.ledger import Ledger
from dahps_core.model.records import Claim, Ending
from dahps_core.process.answers import reason


@contextmanager
def charging(ledger: Ledger, held: Claim | Ending) -> Iterator[None]:
    """Fail the attempt if the block raises: a trial that is released ends the next worker as well.

    Errors of the ledger and signals are not the trial's, and charge nothing.
    """
    try:
        yield
    except LedgerError:
        raise
    except Exception as error:
        with suppress(LedgerError):  # as where the attempt is recorded already
            ledger.end_if_held(Ending(held.number, held.attempt, held.token, "failed", error=reason(error)))
        raise
