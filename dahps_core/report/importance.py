"""How much each level of the space matters to the metric.

The main effect of a level: the share of the metric's variance that the choice at this level explains alone,
by Kelley's epsilon squared (T. L. Kelley, "An Unbiased Correlation Ratio Measure", PNAS 21(9), 1935), which
is about 0 where the choice does not matter, however few trials there are. It is taken of the metric's
ranks, as in W. H. Kruskal and W. A. Wallis, "Use of Ranks in One-Criterion Variance Analysis", JASA
47(260), 1952, so that one diverged trial does not explain everything.

What two levels do only together is not in it. On a conditional space a level is judged among the trials that
have it, of one branch at a time: across branches it would explain what other levels of them do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

from dahps_core.model.combination import canonical
from dahps_core.model.records import TrialRecord
from dahps_core.report.labels import value_label
from dahps_core.report.survey import Survey
from dahps_core.space import SearchSpace


@dataclass(frozen=True)
class Branch:
    """The trials that decide the same keys.

    Attributes:
        name: What they have chosen that decides it.
        n_trials: How many have a finite metric.
        importance: Key -> the share from 0 to 1; None where these trials do not show it.
    """

    name: str
    n_trials: int
    importance: Mapping[str, float | None]


def branches(survey: Survey) -> list[Branch]:
    """Return the branches with measured trials, largest first."""
    groups: dict[frozenset[str], list[tuple[TrialRecord, float]]] = defaultdict(list)
    for trial, metric in survey.measured:
        groups[frozenset(trial.combination)].append((trial, metric))
    deciding = _deciding(survey.spaces)
    return sorted(
        (_branch(group, deciding) for group in groups.values()), key=lambda branch: -branch.n_trials
    )


def _deciding(spaces: Sequence[SearchSpace]) -> set[str]:
    """Return the keys whose values lead to different subtrees somewhere."""
    nodes = [node for space in spaces for node in space.definition()["nodes"]]
    return {node["key"] for node in nodes if len(set(node["children"])) > 1}


def _branch(group: Sequence[tuple[TrialRecord, float]], deciding: Collection[str]) -> Branch:
    trials, metrics = zip(*group, strict=True)
    first = trials[0].combination
    choices = {key: [canonical(trial.combination[key]) for trial in trials] for key in first}
    common = [key for key in first if key in deciding and len(set(choices[key])) == 1]
    return Branch(
        ", ".join(f"{key}={value_label(first[key], 30)}" for key in common) or "all trials",
        len(trials),
        {key: explained(choices[key], metrics) for key in first if key not in common},
    )


def explained(choices: Sequence[Hashable], metrics: Sequence[float]) -> float | None:
    """Return epsilon squared of the metrics' ranks by choices, from 0 to 1.

    Args:
        choices: What each trial has chosen.
        metrics: Of each trial; no NaN.

    Returns:
        None where there is nothing to explain, or nothing to judge it by: one choice only, no choice that was
        made twice, or equal metrics.
    """
    ranks = _ranks(metrics)
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for choice, rank in zip(choices, ranks, strict=True):
        groups[choice].append(rank)
    mean = (len(ranks) + 1) / 2
    total = sum((rank - mean) ** 2 for rank in ranks)
    n_within = len(ranks) - len(groups)
    if len(groups) < 2 or not n_within or not total:
        return None
    between = sum(len(group) * (sum(group) / len(group) - mean) ** 2 for group in groups.values())
    by_chance = (len(groups) - 1) * (total - between) / n_within
    return min(1.0, max(0.0, (between - by_chance) / total))


def _ranks(metrics: Sequence[float]) -> list[float]:
    """Return the rank of each metric, from 1; equal ones share the mean of theirs."""
    order = sorted(range(len(metrics)), key=metrics.__getitem__)
    ranks = [0.0] * len(metrics)
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or metrics[order[end]] != metrics[order[start]]:
            for place in order[start:end]:
                ranks[place] = (start + 1 + end) / 2
            start = end
    return ranks
