"""Figures of how the search went: over time, over levels of resource, over workers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

import plotly.graph_objects as go

from dahps_core.ledger.views.survey import AttemptSpan
from dahps_core.report.labels import label, moment, thinned
from dahps_core.report.survey import Survey, quantile

#: Outcome of an attempt -> its colour: of the Okabe-Ito palette, which the colour-blind can distinguish.
COLOURS = {
    "running": "#56b4e9",
    "finished": "#009e73",
    "failed": "#d55e00",
    "died": "#cc79a7",
    "lost": "#cc79a7",
    "released": "#e69f00",
    "cancelled": "#999999",
}
BLUE = "#0072b2"
#: Of the rungs, in their order.
_OF_LEVELS = ["#56b4e9", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#999999"]

#: From this number on, points are drawn small.
_MANY = 500

_PIXELS_PER_WORKER = 16
_HIGHEST = 1600
#: Of names beside an axis, at most.
_NAMES = 60


def over_time(survey: Survey) -> go.Figure | None:
    """Plot the metric of each trial when it finished, and the best so far."""
    ends = sorted(_measured_ends(survey), key=lambda attempt: attempt.ended_at or 0)
    improvements = survey.improvements
    if not ends or not improvements:
        return None
    figure = go.Figure(layout={"colorway": _OF_LEVELS})
    by_level = sorted(ends, key=lambda attempt: attempt.level)
    for level, there in groupby(by_level, key=lambda attempt: attempt.level):
        figure.add_trace(_points(list(there), _level_name(survey, level)))
    last = max(ends[-1].ended_at or 0, improvements[-1].ended_at)
    figure.add_trace(
        go.Scatter(
            x=[moment(one.ended_at) for one in improvements] + [moment(last)],
            y=[one.metric for one in improvements] + [improvements[-1].metric],
            name="best so far",
            mode="lines",
            line={"shape": "hv", "color": BLUE, "width": 2},
        )
    )
    low, high = survey.span([attempt.metric or 0 for attempt in ends])
    margin = 0.05 * (high - low) or abs(low) * 0.05 or 1
    figure.update_yaxes(title=label(survey.objective), range=[low - margin, high + margin])
    return figure.update_layout(height=400, margin={"t": 20})


def _measured_ends(survey: Survey) -> Iterator[AttemptSpan]:
    for attempt in survey.attempts:
        if attempt.outcome == "finished" and attempt.metric is not None and math.isfinite(attempt.metric):
            yield attempt


def _points(ends: Sequence[AttemptSpan], name: str) -> go.Scattergl:
    return go.Scattergl(
        x=[moment(attempt.ended_at or 0) for attempt in ends],
        y=[attempt.metric for attempt in ends],
        text=[f"trial {attempt.trial}" for attempt in ends],
        name=name,
        mode="markers",
        marker={"size": 4 if len(ends) > _MANY else 7, "opacity": 0.6},
    )


def _level_name(survey: Survey, level: int) -> str:
    brackets = survey.search.brackets
    return f"trials at {brackets.levels[level]}" if brackets else "trials"


def rungs(survey: Survey) -> go.Figure | None:
    """Plot how many trials ended at each rung, and how many were promoted."""
    if not survey.rungs:
        return None
    names = [str(rung.resource) for rung in survey.rungs]
    places = list(range(len(names)))
    metrics: list[list[float]] = [[] for _ in names]
    for attempt in _measured_ends(survey):
        if survey.is_counted(attempt.trial):
            metrics[attempt.level].append(attempt.metric or 0)
    figure = go.Figure(
        [
            go.Bar(x=places, y=[rung.n_ended for rung in survey.rungs], name="ended", marker_color=BLUE),
            go.Bar(
                x=places,
                y=[rung.n_promoted for rung in survey.rungs],
                name="promoted",
                marker_color=COLOURS["finished"],
            ),
            box(places, metrics, name=label(survey.objective), yaxis="y2"),
        ]
    )
    figure.update_layout(
        height=420,
        margin={"t": 20},
        barmode="group",
        xaxis={"title": "resource", **thinned(names, _NAMES)},
        yaxis={"title": "trials", "domain": [0, 0.45]},
        yaxis2={"title": label(survey.objective), "domain": [0.55, 1]},
    )
    return figure


def box(places: Sequence[float], groups: Sequence[Sequence[float]], **options: object) -> go.Box:
    """Draw a box for each group of metrics, at its place: quartiles, and whiskers to the 5th and 95th
    percentile.

    The page is given these numbers, and not the metrics: it stays small with any number of trials.
    """
    there = [(place, sorted(group)) for place, group in zip(places, groups, strict=True) if group]
    shares = {"lowerfence": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "upperfence": 0.95}
    numbers = {name: [quantile(group, share) for _, group in there] for name, share in shares.items()}
    return go.Box(x=[place for place, _ in there], **numbers, marker_color=BLUE, showlegend=False, **options)


def workers(survey: Survey) -> go.Figure | None:
    """Plot which worker ran what when, and how it ended."""
    counted = [attempt for attempt in survey.attempts if survey.is_counted(attempt.trial)]
    if not counted:
        return None
    by_start = sorted(counted, key=lambda attempt: attempt.started_at)
    names = {attempt.worker: attempt.place for attempt in by_start}
    places = {worker: place for place, worker in enumerate(names)}
    figure = go.Figure()
    for outcome, colour in COLOURS.items():
        found = [attempt for attempt in by_start if attempt.outcome == outcome]
        if found:
            figure.add_trace(_spans(survey, found, places, outcome, colour))
    height = min(_HIGHEST, 100 + _PIXELS_PER_WORKER * len(places))
    axis = thinned([label(name, 40) for name in names.values()], max(1, (height - 100) // 12))
    figure.update_yaxes(autorange="reversed", automargin=True, **axis)
    return figure.update_layout(
        height=height, barmode="overlay", bargap=0.1, xaxis={"type": "date"}, margin={"t": 20}
    )


def _spans(
    survey: Survey, attempts: Sequence[AttemptSpan], places: dict[str, int], outcome: str, colour: str
) -> go.Bar:
    def milliseconds(attempt: AttemptSpan) -> float:
        end = survey.made_at if attempt.ended_at is None else attempt.ended_at
        return max(0.0, 1000 * (end - attempt.started_at))  # clocks may go back

    return go.Bar(
        orientation="h",
        base=[moment(attempt.started_at) for attempt in attempts],
        x=[milliseconds(attempt) for attempt in attempts],
        y=[places[attempt.worker] for attempt in attempts],
        text=[f"trial {attempt.trial}, attempt {attempt.attempt}" for attempt in attempts],
        textposition="none",
        hovertemplate="%{text}<br>%{base}<extra></extra>",
        name=outcome,
        marker={"color": colour, "line": {"width": 0}},
    )
