"""A dry run: what a multirun would do, and what would go wrong, found before a job waits for hours."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dahps_core.errors import SearchChangedError, SearchSpaceError
from dahps_core.ledger import Ledger, Search
from dahps_core.ledger.folder.ledger_folder import FILE_NAME
from dahps_core.model.combination import Combination
from dahps_core.space import SearchSpace
from dahps_core.space.overrides import shown_overrides
from dahps_core.text.plural import counted, counted_combinations
from dahps_core.text.printing import printable
from hydra_plugins.dahps_sweeper._composing import Compose, composing_faults
from hydra_plugins.dahps_sweeper._launchers import Place as Launchers

log = logging.getLogger(__name__)

#: Number of combinations composed at most, at about 50 ms each.
MOST_COMPOSED = 1000
#: From this number on, a note says that it takes a while.
N_AT_ONCE = 50
#: Number of combinations shown.
N_SHOWN = 5


def dry_run(
    search: Search,
    only: dict[str, Any] | None,
    typed: Collection[str],
    compose: Compose,
    launchers: Launchers,
    config: DictConfig,
    ledger: Path,
    levels: Iterable[str],
) -> None:
    """Compose a sample of each branch, and say what the multirun would be; nothing is written.

    Args:
        search: What is searched.
        only: The branch that is drawn from.
        typed: The keys that the command line sets.
        compose: Composes the config of a trial.
        launchers: Where the workers would run.
        config: The multirun's config.
        ledger: The ledger's folder.
        levels: Lines that describe the strategy's rungs.

    Raises:
        SearchSpaceError: With every error that the sample met, each with its place in the tree.
    """
    space = search.space if only is None else search.space.only(only)
    say = log.info
    say("Dry run: nothing is written, no job is started")
    say("Space: %s", _size(space))
    sample = list(islice(space.sample(), MOST_COMPOSED + 1))
    n_composed = min(len(sample), MOST_COMPOSED)
    if n_composed > N_AT_ONCE:
        say("Composing %s", counted(n_composed, "combination"))
    faults = list(composing_faults(sample[:MOST_COMPOSED], space, compose, typed))
    what = "every value of every key" if len(sample) <= MOST_COMPOSED else "the first levels' values"
    say("Composed: %s; together they cover %s", counted(n_composed, "combination"), what)
    if faults:
        raise SearchSpaceError(faults)
    say(
        "The first trials%s:",
        "" if _knows_order(search) else " (the actual order depends on the ledger's seed)",
    )
    for combination in islice(_in_order(search, space), N_SHOWN):
        say("  %s", printable(shown_overrides(combination)))
    for line in levels:
        say("%s", line)
    say("Workers: %s", _workers(launchers, config))
    for line in _launcher_options(config.hydra.launcher):
        say("  %s", line)
    say("Ledger: %s", _ledger(ledger.absolute(), config.hydra.sweeper, search))


def _size(space: SearchSpace) -> str:
    n_levels = sum(1 for _ in space.levels())
    return f"{counted_combinations(space.size, space.repetitions)}; {counted(n_levels, 'level')}"


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
    for name in map(str, launcher):
        if name == "_target_" or OmegaConf.is_missing(launcher, name) or launcher[name] is None:
            continue
        yield f"hydra.launcher.{name}={launcher[name]}"


def _ledger(folder: Path, options: DictConfig, search: Search) -> str:
    if not (folder / FILE_NAME).exists():
        search.refuse_levels_of_repetitions()
        return f"{folder} will be created"
    try:
        with Ledger.join(
            folder, search, create=False, locking=options.locking.value, patience_s=options.patience
        ) as ledger:
            return f"{folder} has {ledger.n_drawn} trials already"
    except SearchChangedError:
        if options.on_change.value == "refuse":
            raise
        return f"{folder} will be extended"
