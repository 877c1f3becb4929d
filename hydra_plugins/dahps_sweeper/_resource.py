"""What trials of a strategy with levels are given, and whether anything passes it on to the training code."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from importlib.metadata import distributions
from itertools import islice
from pathlib import Path

from hydra.types import TaskFunction

import dahps_core
from dahps_core.errors import ConfigurationError
from dahps_core.ledger import Search
from dahps_core.ledger.folder.configs import Configs
from dahps_core.ledger.folder.unread_resource import ADVICE
from dahps_core.space.overrides import shown_overrides
from dahps_core.strategies.brackets import Brackets
from dahps_core.text.plural import counted

_RESOLVER = "dahps:resource"
#: What code that reads `current_trial().resource` has in it.
_WORDS = (b"dahps_core", b"current_trial")
#: The most files that are looked through; if there are more, nothing is certain.
_MOST_FILES = 2000
_NOT_OF_A_PERSON = ("site-packages", "dist-packages")


def refuse_unread_resource(search: Search, key: str | None, configs: Configs, function: TaskFunction) -> None:
    """Raise if no trial can learn its resource: each rung would train in full, as without rungs.

    Args:
        search: What is searched.
        key: The override that carries the resource, if one does.
        configs: What trials may be composed of.
        function: The training function.

    Raises:
        ConfigurationError: No config passes it on, and no code that the app may run reads it.
    """
    is_passed = key is not None or _is_in_configs(search, configs)
    if search.brackets and not is_passed and not _may_read(function):
        raise ConfigurationError(
            f"{search.strategy} gives each trial a resource, and neither a config nor the app's code reads "
            "it: every rung would train in full",
            where="hydra.sweeper.strategy",
            hint=ADVICE,
        )


def described_levels(search: Search, key: str | None, configs: Configs, limit: float | None) -> Iterator[str]:
    """Yield, for a dry run, the rungs and brackets, what they cost, and how trials learn their resource."""
    brackets = search.brackets
    if brackets is None:
        return
    rungs = ", ".join(map(str, brackets.levels))
    yield f"Rungs: {rungs}; the best of every {brackets.eta} are promoted to the next ({brackets.mode})"
    for bracket, size in enumerate(brackets.sizes):
        steps = ", ".join(f"{n} to {resource}" for n, resource in brackets.rungs(bracket) if n)
        yield f"Bracket {bracket}, {counted(size, 'trial')} of a round: {steps}"
    budget = "no limit (max_resource_total)" if limit is None else f"{limit:g} of them (max_resource_total)"
    yield f"Budget: a round uses {_cost_of_round(brackets)} in all; {budget}"
    if key is not None:
        yield f"Resource: set by the override {shown_overrides({key: brackets.levels[0]})} at the first rung"
    elif _is_in_configs(search, configs):
        yield f"Resource: ${{{_RESOLVER}}} in the configs"
    else:
        yield f"Resource: no config passes it on, and only current_trial().resource has it. {ADVICE}"


def _cost_of_round(brackets: Brackets) -> float:
    costs = [
        n * Fraction(repr(brackets.cost(bracket, bracket + rung)))
        for bracket in range(len(brackets.sizes))
        for rung, (n, _) in enumerate(brackets.rungs(bracket))
    ]
    total = sum(costs, Fraction(0))
    return total.numerator if total.denominator == 1 else float(total)


def _is_in_configs(search: Search, configs: Configs) -> bool:
    in_tree = any(_RESOLVER in str(value) for _, _, values in search.space.levels() for value in values)
    return in_tree or any(_RESOLVER in str(content) for content in configs.values())


def _may_read(function: TaskFunction) -> bool:
    """Return whether code that the training function may run reads its trial; true if that is unsure."""
    files = list(islice(_files(function), _MOST_FILES + 1))
    if len(files) > _MOST_FILES or any(
        "editable" in type(finder).__name__.lower() for finder in sys.meta_path
    ):
        return True
    if any((needed or "").startswith("dahps") for one in distributions() for needed in one.requires or ()):
        return True
    return any(_reads_trial(file) for file in files)


def _files(function: TaskFunction) -> Iterator[Path]:
    """Yield the Python files that are no installed package's: the app's, and what it can import."""
    ours = Path(dahps_core.__file__).parents[1]
    library = Path(os.__file__).parent
    try:
        main = Path(inspect.getfile(inspect.unwrap(function))).resolve().parent
    except TypeError:  # it is defined in no file
        main = Path.cwd()
    for folder in dict.fromkeys([main, *(Path(entry or ".").resolve() for entry in sys.path)]):
        is_installed = folder == ours or any(part in _NOT_OF_A_PERSON for part in folder.parts)
        if not is_installed and not folder.is_relative_to(library) and folder.is_dir():
            yield from (file for file in folder.rglob("*.py") if not set(_NOT_OF_A_PERSON) & set(file.parts))


def _reads_trial(file: Path) -> bool:
    try:
        text = file.read_bytes()
    except OSError:
        return True
    return any(word in text for word in _WORDS)
