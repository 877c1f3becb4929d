"""The page: one file, with all that it needs inside."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from dahps_core.errors import from_extra
from dahps_core.ledger import Ledger
from dahps_core.model.records import TrialRecord
from dahps_core.report.survey import Survey
from dahps_core.space.overrides import shown_overrides
from dahps_core.text.plural import counted, counted_combinations
from dahps_core.text.printing import printable

if TYPE_CHECKING:
    import plotly.graph_objects as go


def write_report(ledger: Ledger, path: Path | str) -> str | None:
    """Write what a search has found so far, as one page of HTML that needs no network.

    Args:
        ledger: Read while its workers run.
        path: Replaced as a whole.

    Returns:
        How the trials on it were chosen, where there are too many for a page; None: all are on it.

    Raises:
        ConfigurationError: Plotly is not installed.
        OSError: The page cannot be written.
    """
    survey = Survey.of(ledger)
    page = page_of(survey)
    path = Path(path)
    half = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        half.write_text(page, encoding="utf-8")
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)
    return str(survey.sample) if survey.sample else None


def page_of(survey: Survey) -> str:
    """Return the page of a search."""
    with from_extra("report"):
        from plotly.offline import get_plotlyjs

    sections, figures = [], {}
    note_of_sample = " Of the sample that is described at the top." if survey.sample else ""
    for name, title, note, figure in _sections(survey):
        body = _plot(name, figure) if figure else '<p class="none">Nothing to show yet.</p>'
        sections.append(f"<section><h2>{title}</h2><p>{note}{note_of_sample}</p>{body}</section>")
        if figure:
            figures[name] = json.loads(figure.to_json())
    files = resources.files(__package__)
    return Template(files.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        name=escape(printable(survey.folder.resolve().name)),
        header="".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in _header(survey)),
        sections="".join(sections),
        data=_embedded({"figures": figures, "trials": [_row(trial) for trial in survey.trials]}),
        plotly=get_plotlyjs(),
        script=files.joinpath("page.js").read_text(encoding="utf-8"),
    )


def _plot(name: str, figure: go.Figure) -> str:
    """Draw a figure, at least as wide as it stays readable, with a note of what was left out."""
    meta = figure.layout.meta or {}
    left_out = meta.get("left_out")
    note = f'<p class="left-out">Left out: {escape(printable(left_out))}.</p>' if left_out else ""
    width = meta.get("min_width", 0)
    return (
        f'{note}<div class="scroll"><div class="plot" id="{name}" style="min-width: {width}px"></div></div>'
    )


def _embedded(data: Any) -> str:
    # Whatever the values are: without this sign no element of HTML begins or ends.
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _header(survey: Survey) -> Iterator[tuple[str, str]]:
    from dahps_core.report.labels import moment

    search, space = survey.search, survey.spaces[-1]
    combinations = counted_combinations(space.size, space.repetitions)
    extended = f"; the newest of {len(survey.spaces)} spaces" if len(survey.spaces) > 1 else ""
    yield "ledger", printable(str(survey.folder.resolve()))
    yield "search", f"{search.strategy}, seed {search.seed}, {search.direction} {survey.objective}"
    yield "space", f"{combinations}{extended}; {counted(survey.n_trials, 'trial')} drawn"
    yield "trials", ", ".join(f"{n:,} {state.value}" for state, n in survey.counts.items() if n) or "none"
    if survey.sample:
        yield "sample", str(survey.sample)
    if failures := ", ".join(survey.failures()):
        yield "failures", failures
    if survey.n_unmeasured:
        yield "not drawn", f"{survey.n_unmeasured:,} finished without a finite metric: only in the table"
    yield "best", _best(survey.best) if survey.best else "none yet"
    if len(survey.by_configs) > 1:
        counts = ", ".join(
            f"{counted(n, 'trial')} with configs {one}" for one, n in survey.by_configs.items()
        )
        yield "configs", f"finished trials are made of different ones: {counts}"
    if survey.left_out:
        yield "not ranked", str(survey.left_out)
    yield "read", moment(survey.made_at)[:19]


def _best(best: TrialRecord) -> str:
    where = "" if best.resource is None else f" at {best.resource}"
    return f"{best.average or best.metric}{where}, trial {best.number}: {shown_overrides(best.combination)}"


def _sections(survey: Survey) -> Iterator[tuple[str, str, str, go.Figure | None]]:
    """Yield id, title, explanation and figure of each section."""
    from dahps_core.report import timeline, tree, value_effects

    counts = " A trial at a higher level is better than all below." if survey.rungs else ""
    if survey.search.space.repetitions > 1:
        counts = " Each repetition counts by itself."
    yield (
        "over-time",
        "Best over time",
        f"Each trial when it finished.{counts} The worst 5 % are outside the axis; a double click shows all.",
        timeline.over_time(survey),
    )
    if survey.rungs:
        yield (
            "rungs",
            "Promotions",
            "How many trials ended at each level of the resource, how many of them were promoted, and their "
            "metrics there. In all other figures a trial counts with the metric of its highest level.",
            timeline.rungs(survey),
        )
    yield (
        "importance",
        "Importance of the keys",
        "The share of the metric's variance, of its ranks, that the choice of a key explains by "
        "itself: 0 is none, 1 is all of it (epsilon squared of a one-way analysis of variance on "
        "ranks; Kelley 1935, Kruskal and Wallis 1952). Each row is a branch: the trials that decide "
        "the same keys, with their number. Empty: the branch does not decide the key. ?: too few trials."
        " Joint effects of several keys are not included.",
        value_effects.importance(survey),
    )
    yield (
        "per-value",
        "Metric by value",
        "The finished trials with each value, in parentheses how many, among those that have the "
        "level at all. Boxes are quartiles, whiskers reach to the 5th and 95th percentile.",
        value_effects.per_value(survey),
    )
    yield (
        "parallel",
        "Parallel coordinates",
        "A line for each finished trial, dark ones are good; drag along an axis to select. “not set”: its "
        "branch does not decide the key. Metrics of the worst 5 % are at the end of their axis.",
        value_effects.parallel(survey),
    )
    yield (
        "tree",
        "Tree",
        "The newest space from its root on, as far down as it can be read; the colour is the median "
        "metric of the finished trials below, dark is good, grey is unknown. A click enters a branch.",
        tree.tree(survey),
    )
    yield (
        "workers",
        "Workers",
        "The attempts of each worker, by outcome. What still runs ends when this was read.",
        timeline.workers(survey),
    )


def _row(trial: TrialRecord) -> list[Any]:
    """Return a row of the table, in the order of its columns."""
    is_over = trial.started_at is not None and trial.ended_at is not None
    return [
        trial.number,
        trial.state.value,
        None if trial.metric is None else repr(trial.metric),
        trial.resource,
        trial.attempts,
        round(trial.ended_at - trial.started_at, 3) if is_over else None,  # type: ignore[operator]
        trial.worker and printable(trial.worker),
        shown_overrides(trial.combination),
        trial.error and printable(trial.error.strip().rpartition("\n")[2]),
        trial.output_dir and printable(trial.output_dir),
    ]
