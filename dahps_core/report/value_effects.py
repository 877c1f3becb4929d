"""Figures of what the levels of the space do to the metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dahps_core.model.combination import canonical
from dahps_core.model.records import TrialRecord
from dahps_core.report.importance import branches
from dahps_core.report.labels import SCALE, label, thinned, value_label
from dahps_core.report.survey import Survey
from dahps_core.report.timeline import box

_COLUMNS = 3
#: Of a level, as its values are drawn side by side: those with the most trials.
_MOST_VALUES = 30
_MOST_BRANCHES = 20
#: Without a GPU a browser takes a second for a thousand lines.
_MOST_LINES = 2000
_BEST_LINES = 500


def per_value(survey: Survey) -> go.Figure | None:
    """Plot the metric of the trials with each value of each key."""
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
    many = {key: len(values) for key, values in survey.values.items() if len(values) > _MOST_VALUES}
    left_out = [f"{n - _MOST_VALUES:,} of the {n:,} values of {key}" for key, n in many.items()]
    meta = {
        "left_out": f"{'; '.join(left_out)}: those with the fewest trials" if many else "",
        "min_width": 900,
    }
    return figure.update_layout(height=60 + 250 * n_rows, margin={"t": 30}, meta=meta)


def _groups(survey: Survey, key: str) -> tuple[list[str], list[list[float]]]:
    """Return the names of a key's values, and the metrics of each."""
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
    """Draw a line through the values of each trial, coloured by its metric."""
    if not survey.shown:
        return None
    low, high = survey.span([metric for _, metric in survey.shown])
    trials, metrics = zip(*_lines(survey), strict=True)
    n_left_out = survey.n_measured - len(trials)
    axes = [_axis(survey, trials, key) for key, values in survey.values.items() if len(values) > 1]
    axes.append({"label": label(survey.objective, 24), "values": [min(max(low, m), high) for m in metrics]})
    lines = {
        "color": metrics,
        "colorscale": SCALE,
        "reversescale": not survey.is_minimized,
        "cmin": low,
        "cmax": high,
        "showscale": True,
    }
    figure = go.Figure(go.Parcoords(line=lines, dimensions=axes, labelangle=-20, labelside="top"))
    left_out = f"{n_left_out:,} of the {survey.n_measured:,} trials, evenly chosen, but none of the best"
    meta = {"left_out": left_out if n_left_out else "", "min_width": 65 * len(axes)}
    return figure.update_layout(height=520, margin={"t": 100, "l": 80, "r": 60, "b": 40}, meta=meta)


def _lines(survey: Survey) -> list[tuple[TrialRecord, float]]:
    """Select the trials to draw: the best ones, and every nth of the others."""
    sign = 1 if survey.is_minimized else -1
    ranked = sorted(survey.shown, key=lambda one: sign * one[1])
    best, others = ranked[:_BEST_LINES], ranked[_BEST_LINES:]
    step = -(-len(others) // (_MOST_LINES - _BEST_LINES)) or 1
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
    """Plot how much of the metric's variance each key explains, in each branch."""
    every = branches(survey)
    found = every[:_MOST_BRANCHES]
    keys = [key for key in survey.values if any(key in branch.importance for branch in found)]
    if all(share is None for branch in found for share in branch.importance.values()):
        return None
    shares = [[branch.importance.get(key) for key in keys] for branch in found]
    texts = [
        [_described(key in branch.importance, branch.importance.get(key)) for key in keys] for branch in found
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
    figure.update_xaxes(side="top", tickangle=-45, **thinned([label(key, 24) for key in keys], len(keys)))
    figure.update_yaxes(autorange="reversed", automargin=True, **thinned(names, len(names)))
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_yaxes(showgrid=False, zeroline=False)
    n_left_out = len(every) - len(found)
    left_out = f"{n_left_out:,} of the {len(every):,} branches, those with the fewest trials"
    meta = {"left_out": left_out if n_left_out else "", "min_width": 300 + 40 * len(keys)}
    return figure.update_layout(height=190 + 34 * len(found), margin={"t": 120, "b": 20}, meta=meta)


def _described(is_decided: bool, share: float | None) -> str:
    if not is_decided:
        return ""
    return "?" if share is None else f"{share:.2f}"
