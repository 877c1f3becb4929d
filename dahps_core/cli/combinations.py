"""Combinations as a person types them: `key=value` each, and `key=value,value` for several at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from dahps_core.errors import ConfigurationError, OverrideError
from dahps_core.model.combination import Combination, Value, canonical
from dahps_core.space import SearchSpace
from dahps_core.space.listed import Listed, representatives
from dahps_core.space.overrides import shown_overrides, to_overrides
from dahps_core.space.place import Place
from dahps_core.space.pruning import named
from dahps_core.space.words import nearest
from dahps_core.strategies.by_level import MOST_DRAWS, draw_by_level

_NOTHING = "Nothing was queued"


def typed_combinations(space: SearchSpace, words: Sequence[str]) -> Iterator[Combination]:
    """Return the combinations that `key=value` words name; each key of a combination is given, in any order.

    A value is written as in a Hydra override, or as it is. Those of `common` need not be given.

    Raises:
        ConfigurationError: A key is missing, unknown or given twice; a value is unknown or ambiguous.
    """
    typed = _typed(words)
    used = set(typed).intersection(space.common)
    for key in used:
        _chosen(key, typed[key], [space.common[key]])
    yield from _walked(_Walk(typed, tuple(space.common.items()), frozenset(used)), space.root)


class KeyMissingError(ConfigurationError):
    """A key of a combination was not given."""


def completed_combinations(space: SearchSpace, words: Sequence[str], seed: int) -> Iterator[Combination]:
    """Yield combinations with the given values, whose other keys are drawn level by level: one draw after the
    other, as what one draws may exist already.

    Raises:
        ConfigurationError: A key or a value is unknown, or no combination has all of them.
    """
    given = {key: _anywhere(space, key, text) for key, text in _typed(words).items()}
    try:
        branch = space.only({key: [listed for listed, _ in found] for key, found in given.items()})
    except ConfigurationError as error:
        raise ConfigurationError(error.what, where="enqueue", hint=error.hint) from error
    for attempt in range(MOST_DRAWS):
        drawn = branch[draw_by_level(branch, seed, 0, attempt)]
        exact = {
            key: number
            for key, found in given.items()
            for listed, number in found
            if canonical(drawn[key]) == canonical(listed)
        }
        yield Combination({**drawn, **exact}.items(), drawn.occurrence)


def _anywhere(space: SearchSpace, key: str, text: str) -> list[tuple[Value, Value]]:
    """Return the values that a text names anywhere in a space: the listed one, and itself."""
    levels = [values for _, one, values in space.levels() if one == key]
    found: list[tuple[Value, Value]] = []
    for values in levels:
        if isinstance(values, Listed):
            number = values.interval.number(text)
            if (position := values.near(number)) is not None:
                found.append((values[position], number))
        else:
            with suppress(ConfigurationError):
                found += [(values[one], values[one]) for one in _chosen(key, text, values)]
    if not found:
        values = [value for values in levels for value in representatives(values)]
        hint = _choices(values) if levels else f"Its keys are {named([one for _, one, _ in space.levels()])}"
        raise ConfigurationError(f"there is no {key}={text}", where="enqueue", hint=hint)
    return found


@dataclass(frozen=True)
class _Walk:
    """How far a walk to combinations has come.

    Attributes:
        typed: Key -> the text that was given for it.
        chosen: The keys and values of the path so far.
        used: The keys among those given.
    """

    typed: Mapping[str, str]
    chosen: tuple[tuple[str, Value], ...]
    used: frozenset[str]

    def on(self, key: str, value: Value) -> _Walk:
        """Advance by one step."""
        return _Walk(self.typed, (*self.chosen, (key, value)), self.used | {key})


def _typed(words: Sequence[str]) -> dict[str, str]:
    typed: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigurationError(f"{word!r} is not key=value", where="enqueue", hint=_NOTHING)
        if key in typed:
            hint = f"Write {key}={typed[key]},{text} for both. {_NOTHING}"
            raise ConfigurationError(f"{key} is given twice", where="enqueue", hint=hint)
        typed[key] = text
    return typed


def _walked(start: _Walk, root: Place | None) -> Iterator[Combination]:
    # By a loop: a tree may be of any depth.
    waiting = [(start, root)]
    while waiting:
        walk, place = waiting.pop()
        if place is None:
            _refuse_surplus(walk)
            yield Combination(walk.chosen)
            continue
        if place.key not in walk.typed:
            raise _missing(walk, place)
        text = walk.typed[place.key]
        if place.interval is not None:
            numbers = _numbers(place, text)
            waiting += [(walk.on(place.key, number), place.below(one)) for number, one in reversed(numbers)]
            continue
        choices = _chosen(place.key, text, place.values)
        waiting += [(walk.on(place.key, place.values[one]), place.below(one)) for one in reversed(choices)]


def _numbers(place: Place, text: str) -> list[tuple[Value, int]]:
    """Return the numbers of an interval that a text names, listed or not, each with where it leads."""
    found: list[tuple[Value, int]] = []
    for piece in text.split(","):
        assert place.interval
        number = place.interval.number(piece)
        choice = place.near(number)
        if number is None or choice is None:
            first, last = place.values[0], place.values[-1]
            hint = f"Write a number from {typed(first)} to {typed(last)}. {_NOTHING}"
            raise ConfigurationError(f"there is no {place.key}={piece}", where="enqueue", hint=hint)
        found.append((number, choice))
    return found


def _refuse_surplus(walk: _Walk) -> None:
    surplus = [key for key in walk.typed if key not in walk.used]
    if surplus:
        place = shown_overrides(dict(walk.chosen))
        raise ConfigurationError(
            f"{place} does not decide {', '.join(surplus)}", where="enqueue", hint=_NOTHING
        )


def _missing(walk: _Walk, place: Place) -> KeyMissingError:
    near = nearest(place.key, [key for key in walk.typed if key not in walk.used])
    meant = f" (did you mean {near}?)" if near else ""
    return KeyMissingError(
        f"{place.key} is missing{meant}", where="enqueue", hint=_choices(representatives(place.values))
    )


def _choices(values: Sequence[Value]) -> str:
    return f"Its values there are {named([_texts(value)[0] for value in values])}. {_NOTHING}"


def _chosen(key: str, text: str, values: Sequence[Value]) -> list[int]:
    """Return the choices that a text names: one, or several separated by commas."""
    known = _by_text(values)
    found = pieces(text, known)
    if found is None:
        raise ConfigurationError(f"there is no {key}={text}", where="enqueue", hint=_choices(values))
    for piece in found:
        if len(known[piece]) > 1:
            meanings = named([_texts(values[one])[0] for one in known[piece]])
            hint = f"Write one of {meanings}. {_NOTHING}"
            raise ConfigurationError(f"{key}={piece} can mean several values", where="enqueue", hint=hint)
    return list(dict.fromkeys(known[piece][0] for piece in found))


def _by_text(values: Sequence[Value]) -> dict[str, list[int]]:
    """Return the choices that each text may name: one, if it is written as an override."""
    first: dict[str, int] = {}
    for choice, value in enumerate(values):
        first.setdefault(canonical(value), choice)
    known: dict[str, list[int]] = {}
    for choice in first.values():
        known.setdefault(_texts(values[choice])[1], []).append(choice)
    return known | {_texts(values[choice])[0]: [choice] for choice in first.values()}


def typed(value: Value) -> str:
    """Write a value as in an override; as JSON where Hydra cannot express it."""
    return _texts(value)[0]


def texts_of(values: Sequence[Value]) -> dict[str, set[str]]:
    """Map each text to the canonical texts of the values that it may name."""
    return {
        text: {canonical(values[choice]) for choice in choices} for text, choices in _by_text(values).items()
    }


def _texts(value: Value) -> tuple[str, str]:
    """Return the spellings of a value: as in an override, and as it is."""
    plain = value if isinstance(value, str) else canonical(value)
    with suppress(OverrideError):
        return to_overrides({"x": value})[0].partition("=")[2], plain
    return plain, plain  # one that Hydra cannot carry


def pieces(text: str, known: Collection[str]) -> list[str] | None:
    """Split a text into known texts separated by commas, which may contain commas; None if that is
    impossible.
    """
    words = text.split(",")
    # By what follows a comma, from the last one on; the longest text that is known first.
    read: dict[int, list[str]] = {len(words): []}
    for start in reversed(range(len(words))):
        for end in range(len(words), start, -1):
            piece = ",".join(words[start:end])
            if end in read and piece in known:
                read[start] = [piece, *read[end]]
                break
    return read.get(0)
