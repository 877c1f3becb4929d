"""A ledger in a notebook: its state in a few lines."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dahps_core.space.overrides import shown_overrides

if TYPE_CHECKING:
    from dahps_core.ledger.reader import LedgerReader


def shown_in_notebook(ledger: LedgerReader) -> str:
    """Return a ledger's folder, its counts and its best trial as HTML."""
    counts = ", ".join(f"{count} {state.value}" for state, count in ledger.counts().items() if count)
    best = ledger.best()
    lines = [
        f"<b>{escape(str(ledger.folder))}</b>",
        escape(f"{ledger.search.strategy}, {ledger.search.direction}: {counts or 'no trial yet'}"),
    ]
    if best is not None:
        combination = f"<code>{escape(shown_overrides(best.combination))}</code>"
        lines.append(f"best {best.average or best.metric} (trial #{best.number}): {combination}")
    return "<br>".join(lines)
