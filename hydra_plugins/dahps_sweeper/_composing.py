"""Composing a few combinations before anything is launched, and where in the tree an error comes from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice

from hydra._internal.config_repository import IConfigRepository
from omegaconf import DictConfig, OmegaConf

from dahps_core.errors import Fault, SearchSpaceError
from dahps_core.model.combination import Combination, Value, canonical
from dahps_core.space import SearchSpace
from dahps_core.space.keys import bare
from dahps_core.space.overrides import shown_overrides
from dahps_core.space.path import Path, value_step
from dahps_core.space.words import nearest

log = logging.getLogger(__name__)

#: At about 50 ms each.
MOST_COMPOSED = 50
#: How many combinations are looked at, to find those that are worth composing.
_LOOKED_AT = 1000

Compose = Callable[[Mapping[str, Value]], DictConfig]


def refuse_what_does_not_compose(
    space: SearchSpace, compose: Compose, repository: IConfigRepository, typed: Collection[str]
) -> None:
    """Compose a few combinations, among them each key below each option of a config group.

    Which keys a config has depends on the options that are chosen, and hardly ever on other values. Where the
    space is too large for that, a dry run finds more.

    Args:
        space: All of it, or the branch that is drawn from.
        compose: Composes the config of a trial.
        repository: Of the configs.
        typed: The keys that the command line sets.

    Raises:
        SearchSpaceError: With a fault for each key that an error comes with.
    """
    sample = _informative(space, lambda key: repository.group_exists(bare(key).partition("@")[0]))
    if faults := list(composing_faults(sample, space, compose, typed)):
        raise SearchSpaceError(faults)


def _informative(space: SearchSpace, is_group: Callable[[str], bool]) -> Iterator[Combination]:
    seen: set[tuple[str, str]] = set()
    n_found = 0
    for combination in chain(islice(space.sample(), _LOOKED_AT), islice(space.shuffled(0), _LOOKED_AT)):
        options = [f"{key}={canonical(value)}" for key, value in combination.items() if is_group(key)]
        new = {(key, option) for key in combination for option in ("", *options)} - seen
        if n_found == 0 or (new and n_found < MOST_COMPOSED):
            seen |= new
            n_found += 1
            yield combination


def composing_faults(
    sample: Iterable[Combination], space: SearchSpace, compose: Compose, typed: Collection[str]
) -> Iterator[Fault]:
    """Return one fault for each key of a level that causes an error, however many combinations have it."""
    errors: dict[str, Combination] = {}
    for combination in sample:
        if error := _error(compose, combination):
            errors.setdefault(error, combination)
    without = _error(compose, {}) if errors else None
    if without in errors:
        yield Fault("root", f"without a combination the app's config does not compose: {without}")
        return
    reported = set()
    for error, combination in errors.items():
        place, items = _culprit(combination, space, partial(_comes_with, error, compose))
        key = next(reversed(items))
        if (place, key) not in reported:
            reported.add((place, key))
            yield _fault("command line" if key in typed else place, items, error, compose)


def _fault(place: str, items: dict[str, Value], error: str, compose: Compose) -> Fault:
    """Return the fault of the last of some items."""
    key, value = items.popitem()
    if not error.startswith(f"Could not override '{key}'."):
        return Fault(place, f"{shown_overrides({key: value})} does not compose: {error}")
    near = nearest(key, list(_keys("", OmegaConf.to_container(compose(items)))))
    meant = f"did you mean {near}? Otherwise " if near else ""
    return Fault(place, f"the app's config has no key {key} there", f"{meant}write +{key} to add it")


def _keys(key: str, value: object) -> Iterator[str]:
    for name, below in value.items() if isinstance(value, dict) else ():
        if (inner := f"{key}.{name}".lstrip(".")) != "hydra":
            yield inner
            yield from _keys(inner, below)


def _error(compose: Compose, items: Mapping[str, Value]) -> str | None:
    try:
        compose(items)
    except Exception as error:  # whatever Hydra, OmegaConf or a resolver of the user's raises
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _comes_with(error: str, compose: Compose, items: Mapping[str, Value]) -> bool:
    return _error(compose, items) == error


def _culprit(
    combination: Combination, space: SearchSpace, fails: Callable[[Mapping[str, Value]], bool]
) -> tuple[str, dict[str, Value]]:
    """Return the first value on the path that causes the error: its place, and the items up to it."""
    items = list(combination.items())
    n_common = len(space.common)
    path = Path("root")
    for end, (key, value) in enumerate(items, start=1):
        if end == len(items) or fails(dict(items[:end])):
            return str(path if end > n_common else Path("common") / key), dict(items[:end])
        if end > n_common:
            path = path.passed(key) / value_step(value)
    raise AssertionError("the combination is empty")
