"""Figures of what the levels of the space do to the metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from dahps_core.combination import canonical
from dahps_core.report.course import box
from dahps_core.report.importance import branches
from dahps_core.report.labels import label, thinned, value_label
from dahps_core.report.survey import Survey
from dahps_core.space.place import Place
from dahps_core.trial import TrialRecord

#: One that the colour-blind can read; the dark end is the good one.
_SCALE = "Viridis"
_UNKNOWN = "#e0e0e0"
_COLUMNS = 3
#: Of a level, as its values are drawn side by side: those with the most trials.
_MOST_VALUES = 30
_MOST_BRANCHES = 20
#: Without a GPU a browser takes a second for a thousand lines.
MOST_LINES = 2000
_BEST_LINES = 500
#: Of the tree as it is drawn: it is cut off above the level that would need more.
_MOST_LEAVES = 64


def per_value(survey: Survey) -> go.Figure | None:
    """The metric of the trials with each value of each level."""
    keys = list(survey.values)
    if not survey.measured or not keys:
        return None
    titles = [label(key, 40) for key in keys]
    n_rows = -(-len(keys) // _COLUMNS)
    figure = make_subplots(
        rows=n_rows,
        cols=_COLUMNS,
        subplot_titles=titles,
        vertical_spacing=0.42 / n_rows,
        horizontal_spacing=0.07,
    )
    low, high = survey.span([metric for _, metric in survey.measured])
    for number, key in enumerate(keys):
        names, groups = _groups(survey, key)
        row, column = 1 + number // _COLUMNS, 1 + number % _COLUMNS
        places = list(range(len(names)))
        figure.add_trace(box(places, groups, name=""), row=row, col=column)
        figure.update_xaxes(row=row, col=column, range=[-0.7, len(names) - 0.3], **thinned(names, 12))
    margin = 0.2 * (high - low) or 1
    figure.update_yaxes(range=[low - margin, high + margin])
    return figure.update_layout(height=60 + 250 * n_rows, margin={"t": 30})


def _groups(survey: Survey, key: str) -> tuple[list[str], list[list[float]]]:
    """The names of a level's values, and the metrics of each."""
    metrics: dict[str, list[float]] = defaultdict(list)
    for trial, metric in survey.measured:
        if key in trial.combination:
            metrics[canonical(trial.combination[key])].append(metric)
    values = survey.values[key]
    most = sorted(values, key=lambda text: -len(metrics[text]))[:_MOST_VALUES]
    shown = [text for text in values if text in set(most)]
    names = [f"{value_label(values[text], 16)} ({len(metrics[text])})" for text in shown]
    return names, [metrics[text] for text in shown]


def parallel(survey: Survey) -> go.Figure | None:
    """A line through the values of each trial, coloured by its metric."""
    if not survey.measured:
        return None
    low, high = survey.span([metric for _, metric in survey.measured])
    trials, metrics = zip(*_lines(survey), strict=True)
    axes = [_axis(survey, trials, key) for key, values in survey.values.items() if len(values) > 1]
    axes.append({"label": label(survey.objective, 24), "values": [min(max(low, m), high) for m in metrics]})
    lines = {
        "color": metrics,
        "colorscale": _SCALE,
        "reversescale": not survey.is_minimized,
        "cmin": low,
        "cmax": high,
        "showscale": True,
    }
    figure = go.Figure(go.Parcoords(line=lines, dimensions=axes, labelangle=-20, labelside="top"))
    return figure.update_layout(height=520, margin={"t": 100, "l": 80, "r": 60, "b": 40})


def _lines(survey: Survey) -> list[tuple[TrialRecord, float]]:
    """The trials that are drawn: the best ones, and of the others every second, third ..."""
    sign = 1 if survey.is_minimized else -1
    ranked = sorted(survey.measured, key=lambda one: sign * one[1])
    best, others = ranked[:_BEST_LINES], ranked[_BEST_LINES:]
    step = -(-len(others) // (MOST_LINES - _BEST_LINES)) or 1
    return best + others[::step]


def _axis(survey: Survey, trials: Sequence[TrialRecord], key: str) -> dict[str, object]:
    values = survey.values[key]
    places = {text: place for place, text in enumerate(values)}
    chosen = [
        places[canonical(trial.combination[key])] if key in trial.combination else -1 for trial in trials
    ]
    ticks = thinned([value_label(value, 14) for value in values.values()], 25)
    if -1 in chosen:
        ticks = {"tickvals": [-1, *ticks["tickvals"]], "ticktext": ["not set", *ticks["ticktext"]]}
    ends = [min(chosen), len(values) - 1]
    return {"label": label(key, 24), "values": chosen, "range": ends, **ticks}


def importance(survey: Survey) -> go.Figure | None:
    """How much of the metric's variance each level explains, in each branch."""
    found = branches(survey)[:_MOST_BRANCHES]
    keys = [key for key in survey.values if any(key in branch.importance for branch in found)]
    if not keys:
        return None
    shares = [[branch.importance.get(key) for key in keys] for branch in found]
    texts = [
        [_told(key in branch.importance, branch.importance.get(key)) for key in keys] for branch in found
    ]
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            text=texts,
            texttemplate="%{text}",
            hovertemplate="%{text}<extra></extra>",
            colorscale="Blues",
            zmin=0,
            zmax=1,
            xgap=2,
            ygap=2,
        )
    )
    names = [f"{label(branch.name, 70)} ({branch.n_trials})" for branch in found]
    figure.update_xaxes(side="top", tickangle=-30, **thinned([label(key, 24) for key in keys], len(keys)))
    figure.update_yaxes(autorange="reversed", automargin=True, **thinned(names, len(names)))
    return figure.update_layout(height=180 + 34 * len(found), margin={"t": 110, "b": 20})


def _told(is_decided: bool, share: float | None) -> str:
    if not is_decided:
        return ""
    return "?" if share is None else f"{share:.2f}"


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
    """The tree of the newest space from its root on, coloured by the median metric of what lies below."""
    drawn = _drawn(survey)
    if len(drawn) < 2:
        return None
    medians = [median(branch.metrics) if branch.metrics else None for branch in drawn]
    figure = go.Figure(
        go.Icicle(
            ids=[str(number) for number in range(len(drawn))],
            parents=["" if branch.parent is None else str(branch.parent) for branch in drawn],
            labels=[branch.name for branch in drawn],
            values=[branch.n_leaves for branch in drawn],
            branchvalues="total",
            marker={"colors": _colours(survey, medians)},
            text=[_explored(branch, one) for branch, one in zip(drawn, medians, strict=True)],
            texttemplate="%{label}<br>%{text}",
            hovertemplate="%{label}<br>%{text}<extra></extra>",
            sort=False,
        )
    )
    return figure.update_layout(
        height=max(420, 22 * drawn[0].n_leaves), margin={"t": 10, "l": 10, "r": 10, "b": 10}
    )


def _colours(survey: Survey, medians: Sequence[float | None]) -> list[str]:
    """The darker, the better; grey where nothing was measured."""
    known = [one for one in medians if one is not None]
    if not known:
        return [_UNKNOWN] * len(medians)
    low, high = survey.span(known)
    first, last = (low, high) if survey.is_minimized else (high, low)
    shares = [min(1.0, max(0.0, (one - first) / (last - first))) if low < high else 0.0 for one in known]
    colours = iter(sample_colorscale(_SCALE, shares))
    return [_UNKNOWN if one is None else next(colours) for one in medians]


def _explored(branch: _Branch, metric: float | None) -> str:
    told = f"{branch.n_trials:,} of {branch.size:,} trials"
    return told if metric is None else f"{told}, median {metric:.5g}"


def _drawn(survey: Survey) -> list[_Branch]:
    """The places of the tree that are drawn, parents first, with all trials entered."""
    space = survey.spaces[-1]
    found = [_Branch("all", None, space.n_trials)]
    numbers: dict[tuple[int, str], int] = {}
    row = [(0, space.root)]
    while row:
        below = list(_below(row, space.repetitions))
        if not below or len(below) > _MOST_LEAVES:
            break
        row = []
        for parent, key, text, place, branch in below:
            numbers[parent, f"{key}={text}"] = len(found)
            row.append((len(found), place))
            found.append(branch)
    _enter(survey, found, numbers)
    return found


def _below(
    row: Sequence[tuple[int, Place | None]], repetitions: int
) -> Iterator[tuple[int, str, str, Place | None, _Branch]]:
    for parent, place in row:
        if place is None:
            continue
        for choice, value in enumerate(place.values):
            below = place.below(choice)
            name = f"{label(place.key, 24)}={value_label(value, 24)}"
            size = repetitions * (below.size if below else 1)
            yield parent, place.key, canonical(value), below, _Branch(name, parent, size)


def _enter(survey: Survey, found: Sequence[_Branch], numbers: Mapping[tuple[int, str], int]) -> None:
    metrics = {trial.number: metric for trial, metric in survey.measured}
    for trial in survey.trials:
        number: int | None = 0
        steps = iter(trial.combination.items())
        common = survey.spaces[-1].common
        while number is not None:
            found[number].n_trials += 1
            if trial.number in metrics:
                found[number].metrics.append(metrics[trial.number])
            step = next((step for step in steps if step[0] not in common), None)
            number = numbers.get((number, f"{step[0]}={canonical(step[1])}")) if step else None
    parents = {branch.parent for branch in found}
    for number in reversed(range(len(found))):
        branch = found[number]
        branch.n_leaves += number not in parents
        if branch.parent is not None:
            found[branch.parent].n_leaves += branch.n_leaves
