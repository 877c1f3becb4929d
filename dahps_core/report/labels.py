"""Texts of a search where Plotly draws them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from dahps_core.model.combination import Value
from dahps_core.space.overrides import shown_value
from dahps_core.text.printing import printable

_LONGEST = 60

#: A scale of colours that the colour-blind can read; the dark end is the good one.
SCALE = "Viridis"

#: Plotly draws some of HTML's tags and entities in its labels, but not everywhere, so that to escape them
#: would show in other places. With this invisible character inside, neither is one.
_BREAK = "\u200b"


def label(text: str, longest: int = _LONGEST) -> str:
    """Return a text that Plotly draws as it is, cut to a length."""
    shown = printable(text)
    if len(shown) > longest:
        shown = f"{shown[: longest - 1]}…"
    return re.sub("[<&]", lambda found: found[0] + _BREAK, shown)


def value_label(value: Value, longest: int = _LONGEST) -> str:
    """Return a value as its override has it."""
    return label(shown_value(value), longest)


def thinned(labels: Sequence[str], most: int) -> dict[str, list[int] | list[str]]:
    """Return an axis whose places 0, 1, ... have these labels, or a selection if there are too many
    to read.
    """
    step = -(-len(labels) // most) or 1
    places = list(range(0, len(labels), step))
    return {"tickvals": places, "ticktext": [labels[place] for place in places]}


def moment(seconds: float) -> str:
    """Return a time since the epoch as local time."""
    return datetime.fromtimestamp(seconds).isoformat(sep=" ", timespec="milliseconds")
