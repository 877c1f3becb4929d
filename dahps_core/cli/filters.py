"""`key=value` words that choose among trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from dahps_core.cli.combinations import pieces, texts_of
from dahps_core.errors import ConfigurationError
from dahps_core.model.combination import Value, canonical
from dahps_core.space import SearchSpace
from dahps_core.space.interval import Interval
from dahps_core.space.listed import Listed, representatives
from dahps_core.space.pruning import named
from dahps_core.space.words import nearest


def chosen_values(spaces: Iterable[SearchSpace], words: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return key -> the canonical texts of the values that are given for it; as `enqueue` reads them.

    Raises:
        ConfigurationError: No space has this key or this value.
    """
    values: dict[str, dict[str, Value]] = defaultdict(dict)
    intervals: dict[str, list[Interval]] = defaultdict(list)
    for space in spaces:
        for _, key, choices in space.levels():
            if isinstance(choices, Listed):
                intervals[key].append(choices.interval)
            values[key].update((canonical(value), value) for value in representatives(choices))
    wanted: dict[str, set[str]] = defaultdict(set)
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigurationError(f"{word!r} is not key=value", where="trials")
        if key not in values:
            near = nearest(key, values)
            hint = f"Did you mean {near}?" if near else f"Its keys are {named(values)}"
            raise ConfigurationError(f"the space has no key {key!r}", where="trials", hint=hint)
        numbers = _numbers(text, intervals[key])
        wanted[key] |= _meant(key, text, list(values[key].values())) if numbers is None else numbers
    return {key: frozenset(texts) for key, texts in wanted.items()}


def _numbers(text: str, intervals: Sequence[Interval]) -> set[str] | None:
    """Return the canonical texts of numbers inside of intervals; None if the text is anything else."""
    found: set[str] = set()
    for piece in text.split(","):
        inside = {canonical(number) for one in intervals if (number := one.number(piece)) is not None}
        if not inside:
            return None
        found |= inside
    return found


def _meant(key: str, text: str, values: Sequence[Value]) -> set[str]:
    known = texts_of(values)
    found = pieces(text, known)
    if found is None:
        hint = f"Its values are {named(list(known))}"
        raise ConfigurationError(f"the space has no {key}={text!r}", where="trials", hint=hint)
    return set().union(*(known[piece] for piece in found))
