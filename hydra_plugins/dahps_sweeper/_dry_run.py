"""A dry run: what a multirun would do, and what would go wrong, found before a job waits for hours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dahps_core.combination import Combination, Value
from dahps_core.errors import Fault, SearchChangedError, SearchSpaceError
from dahps_core.ledger import Ledger, Search
from dahps_core.ledger.folder import FILE_NAME
from dahps_core.overrides import printable, shown_overrides
from dahps_core.plural import counted, counted_combinations
from dahps_core.space import SearchSpace
from dahps_core.space.path import Path as Place
from dahps_core.space.path import value_step
from hydra_plugins.dahps_sweeper._launchers import Place as Launchers

log = logging.getLogger(__name__)

#: So many combinations are composed at most, at about 50 ms each.
MOST_COMPOSED = 1000
#: More take a while, which is told.
N_AT_ONCE = 50
#: So many are shown.
N_SHOWN = 5

Compose = Callable[[Mapping[str, Value]], object]


def dry_run(
    search: Search,
    only: dict[str, Any] | None,
    compose: Compose,
    launchers: Launchers,
    config: DictConfig,
    ledger: Path,
) -> None:
    """Compose a sample of each branch, and say what the multirun would be; nothing is written.

    Args:
        search: What is searched.
        only: The branch that is drawn from.
        compose: Composes the config of a trial.
        launchers: Where the workers would run.
        config: The multirun's config.
        ledger: The ledger's folder.

    Raises:
        SearchSpaceError: With every error that the sample met, each with its place in the tree.
    """
    space = search.space if only is None else search.space.only(only)
    say = log.info
    say("Dry run: nothing is written, and no job is started")
    say("Space: %s", _size(space))
    sample = list(islice(space.sample(), MOST_COMPOSED + 1))
    n_composed = min(len(sample), MOST_COMPOSED)
    if n_composed > N_AT_ONCE:
        say("Composing %s", counted(n_composed, "combination"))
    faults = list(_faults(sample[:MOST_COMPOSED], space, compose))
    what = "each value of each level" if len(sample) <= MOST_COMPOSED else "the first levels' values"
    say("Composed: %s, which have %s among them", counted(n_composed, "combination"), what)
    if faults:
        raise SearchSpaceError(faults)
    say("The first trials%s:", "" if _knows_order(search) else ", in an order that the ledger's seed decides")
    for combination in islice(_in_order(search, space), N_SHOWN):
        say("  %s", printable(shown_overrides(combination)))
    say("Workers: %s", _workers(launchers, config))
    for line in _launcher_options(config.hydra.launcher):
        say("  %s", line)
    say("Ledger: %s", _ledger(ledger.absolute(), config.hydra.sweeper, search))


def _size(space: SearchSpace) -> str:
    n_levels = sum(1 for _ in space.levels())
    return f"{counted_combinations(space.size, space.repetitions)}; {counted(n_levels, 'level')}"


def _faults(sample: list[Combination], space: SearchSpace, compose: Compose) -> Iterator[Fault]:
    """One fault for each key of a level that an error comes with, however many combinations meet it."""
    errors: dict[str, Combination] = {}
    for combination in sample:
        if error := _error(compose, combination):
            errors.setdefault(error, combination)
    told = set()
    for error, combination in errors.items():
        if not combination:
            yield Fault("root", f"without a combination the app's config does not compose: {error}")
            return
        place, key, value = _culprit(
            combination, space, lambda items, error=error: _error(compose, items) == error
        )
        if (place, key) not in told:
            told.add((place, key))
            yield Fault(place, f"{shown_overrides({key: value})} does not compose: {error}")


def _error(compose: Compose, items: Mapping[str, Value]) -> str | None:
    try:
        compose(items)
    except Exception as error:  # whatever Hydra, OmegaConf or a resolver of the user's raises
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _culprit(
    combination: Combination, space: SearchSpace, fails: Callable[[Mapping[str, Value]], bool]
) -> tuple[str, str, Value]:
    """The first value on the way down with which the error comes: where that stands, its key, the value."""
    items = list(combination.items())
    n_common = len(space.common)
    path = Place("root")
    for end, (key, value) in enumerate(items, start=1):
        if end == len(items) or fails(dict(items[:end])):
            return str(path if end > n_common else Place("common") / key), key, value
        if end > n_common:
            path = path.passed(key) / value_step(value)
    raise AssertionError("the combination is empty")


def _knows_order(search: Search) -> bool:
    return search.seed is not None or search.strategy == "grid"


def _in_order(search: Search, space: SearchSpace) -> Iterator[Combination]:
    return iter(space) if search.strategy == "grid" else space.shuffled(search.seed or 0)


def _workers(launchers: Launchers, config: DictConfig) -> str:
    if launchers.is_here:
        return "1, in this process"
    launches = launchers.launches(config.hydra.sweeper.n_workers)
    n_workers = f"{sum(map(len, launches))}"
    if launchers.is_slurm:
        n_workers += f", in {counted(len(launches), 'job array')} of SLURM"
    return f"{n_workers}, by {config.hydra.launcher._target_}"


def _launcher_options(launcher: DictConfig) -> Iterator[str]:
    for name in launcher:
        if name == "_target_" or OmegaConf.is_missing(launcher, name) or launcher[name] is None:
            continue
        yield f"hydra.launcher.{name}={launcher[name]}"


def _ledger(folder: Path, options: DictConfig, search: Search) -> str:
    if not (folder / FILE_NAME).exists():
        return f"{folder} will be made"
    try:
        with Ledger.join(
            folder, search, create=False, locking=options.locking.value, patience_s=options.patience
        ) as ledger:
            return f"{folder} has {ledger.n_drawn} trials already"
    except SearchChangedError:
        if options.on_change.value == "refuse":
            raise
        return f"{folder} will be extended"
