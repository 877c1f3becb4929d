"""The figure of the tree of a space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeAlias

import plotly.graph_objects as go
from plotly.colors import sample_colorscale, unlabel_rgb

from dahps_core.model.combination import canonical
from dahps_core.report.labels import SCALE, label, value_label
from dahps_core.report.survey import Survey
from dahps_core.space.place import Place

_UNKNOWN = "rgb(224, 224, 224)"
#: Of the tree as it is drawn: it is cut off above the level that would need more.
_MOST_LEAVES = 64


#: From a branch, by a key: the canonical text of a value, or the bounds of a part of an interval.
_Way: TypeAlias = "tuple[int, str, str | tuple[Any, Any]]"


@dataclass
class _Branch:
    """A place of the tree: what was tried there, of how much."""

    name: str
    parent: int | None
    size: int
    metrics: list[float] = field(default_factory=list)
    n_trials: int = 0
    n_leaves: int = 0


def tree(survey: Survey) -> go.Figure | None:
    """Draw the tree of the newest space, coloured by the median metric of each subtree."""
    drawn, n_below = _drawn(survey)
    if len(drawn) < 2:
        return None
    medians = [median(branch.metrics) if branch.metrics else None for branch in drawn]
    colours = _colours(survey, medians)
    figure = go.Figure(
        go.Icicle(
            ids=[str(number) for number in range(len(drawn))],
            parents=["" if branch.parent is None else str(branch.parent) for branch in drawn],
            labels=[branch.name for branch in drawn],
            values=[branch.n_leaves for branch in drawn],
            branchvalues="total",
            marker={"colors": colours},
            outsidetextfont={"color": _readable_on(colours[0])},  # of the root; Plotly sees to the others
            text=[_explored(survey, branch, one) for branch, one in zip(drawn, medians, strict=True)],
            texttemplate="%{label}<br>%{text}",
            hovertemplate="%{label}<br>%{text}<extra></extra>",
            sort=False,
        )
    )
    return figure.update_layout(
        height=max(420, 22 * drawn[0].n_leaves),
        margin={"t": 10, "l": 10, "r": 10, "b": 10},
        meta={"left_out": f"all levels below, of which the next has {n_below:,} branches" if n_below else ""},
    )


def _colours(survey: Survey, medians: Sequence[float | None]) -> list[str]:
    """Return the colours: darker is better, grey where nothing was measured."""
    known = [one for one in medians if one is not None]
    if not known:
        return [_UNKNOWN] * len(medians)
    low, high = survey.span(known)
    first, last = (low, high) if survey.is_minimized else (high, low)
    shares = [min(1.0, max(0.0, (one - first) / (last - first))) if low < high else 0.0 for one in known]
    colours = iter(sample_colorscale(SCALE, shares))
    return [_UNKNOWN if one is None else next(colours) for one in medians]


def _explored(survey: Survey, branch: _Branch, metric: float | None) -> str:
    text = f"{survey.estimated(branch.n_trials)} of {branch.size:,} trials"
    return text if metric is None else f"{text}, median {metric:.5g}"


def _readable_on(colour: str) -> str:
    red, green, blue = unlabel_rgb(colour)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 128 else "black"


def _drawn(survey: Survey) -> tuple[list[_Branch], int]:
    """Return the drawn nodes of the tree, parents first, with all trials entered.

    And how many there are in the next level; 0 if nothing is below.
    """
    space = survey.spaces[-1]
    found = [_Branch("all", None, space.n_trials)]
    numbers: dict[_Way, int] = {}
    row = [(0, space.root)]
    while 0 < len(below := list(_below(row, space.repetitions))) <= _MOST_LEAVES:
        row = []
        for way, place, branch in below:
            numbers[way] = len(found)
            row.append((len(found), place))
            found.append(branch)
    _enter(survey, found, numbers)
    return found, len(below)


def _below(
    row: Sequence[tuple[int, Place | None]], repetitions: int
) -> Iterator[tuple[_Way, Place | None, _Branch]]:
    for parent, place in row:
        if place is None:
            continue
        for first, last in place.runs():
            below = place.below(first)
            values = place.values[first], place.values[last]
            name = f"{label(place.key, 24)}={value_label(values[0], 24)}"
            name += f"..{value_label(values[1], 24)}" if last > first else ""
            way = parent, place.key, values if place.interval else canonical(values[0])
            size = repetitions * (last - first + 1) * (below.size if below else 1)
            yield way, below, _Branch(name, parent, size)


def _enter(survey: Survey, found: Sequence[_Branch], numbers: Mapping[_Way, int]) -> None:
    metrics = {trial.number: metric for trial, metric in survey.measured}
    parts: dict[tuple[int, str], list[tuple[Any, Any]]] = {}
    for parent, key, which in numbers:
        if isinstance(which, tuple):
            parts.setdefault((parent, key), []).append(which)
    for trial in filter(lambda one: survey.is_counted(one.number), survey.trials):
        number: int | None = 0
        steps = iter(trial.combination.items())
        common = survey.spaces[-1].common
        while number is not None:
            found[number].n_trials += 1
            if trial.number in metrics:
                found[number].metrics.append(metrics[trial.number])
            step = next((step for step in steps if step[0] not in common), None)
            if step is None:
                break
            key, value = step
            part = next((one for one in parts.get((number, key), ()) if one[0] <= value <= one[1]), None)
            number = numbers.get((number, key, canonical(value) if part is None else part))
    parents = {branch.parent for branch in found}
    for number in reversed(range(len(found))):
        branch = found[number]
        branch.n_leaves += number not in parents
        if branch.parent is not None:
            found[branch.parent].n_leaves += branch.n_leaves
