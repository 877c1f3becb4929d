"""`dahps space`: the tree of a search space, with the combinations of each branch counted."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from dahps_core.cli.combinations import typed
from dahps_core.cli.text import folded, say
from dahps_core.cli.yaml_file import read_yaml
from dahps_core.errors import ConfigurationError
from dahps_core.ledger import FILE_NAME, Ledger
from dahps_core.space import SearchSpace
from dahps_core.space.place import Place
from dahps_core.space.schema import json_schema
from dahps_core.text.plural import counted_combinations
from dahps_core.text.printing import printable


@click.command()
@click.argument("config", metavar="CONFIG", type=click.Path(), required=False)
@click.option("--schema", "is_schema", is_flag=True, help="print a JSON Schema of trees, for editors")
@click.option("--depth", type=click.IntRange(min=1), default=6, help="levels that branch (default: 6)")
@click.option(
    "--width", type=click.IntRange(min=1), default=8, help="values and branches of a level (default: 8)"
)
def space(config: str | None, depth: int, width: int, *, is_schema: bool) -> None:
    """Draw the tree of CONFIG: a YAML file, module:attribute, or a ledger's folder.

    Values with the same subtree share one line; a level whose values all do needs no branch. A
    subtree that was drawn before is not drawn again.
    """
    if is_schema:
        print(json.dumps(json_schema(), indent=2))
        return
    if config is None:
        raise click.UsageError("Missing argument 'CONFIG'.")
    found = read_space(config)
    say(counted_combinations(found.size, found.repetitions))
    for key, value in found.common.items():
        say(f"{key}={typed(value)} in all of them")
    for line in _drawn(found.root, width, depth):
        text = line.lstrip()
        indent = " " * (len(line) - len(text))
        first, *more = folded(text, len(indent) + 2)
        say(f"{indent}{first}", *(f"{indent}  {one}" for one in more))


def read_space(config: str) -> SearchSpace:
    """Read the space that an argument of the command line names.

    Raises:
        ConfigurationError: It names none.
        SearchSpaceError: It names one that has faults.
    """
    if os.path.isdir(config):
        if not (Path(config) / FILE_NAME).exists():
            hint = "Name a YAML file, module:attribute, or a ledger's folder"
            raise ConfigurationError("there is no ledger here", where=config, hint=hint)
        with Ledger.open(config) as ledger:
            return ledger.search.space
    tree = read_yaml(Path(config)) if os.path.exists(config) else _from_module(config)
    if isinstance(tree, SearchSpace):
        return tree
    if not isinstance(tree, Mapping):
        raise ConfigurationError("a search space is a mapping", where=config)
    if "defaults" in tree:
        hint = "Draw what it writes: python APP --cfg hydra --resolve -p hydra.sweeper.search > FILE"
        raise ConfigurationError("Hydra composes it, by a defaults list", where=config, hint=hint)
    is_whole = "root" in tree or not {"key", "values", "interval"} & set(tree)
    return SearchSpace.from_config(tree if is_whole else {"root": tree})


def _from_module(name: str) -> Any:
    module, colon, attribute = name.partition(":")
    if not colon:
        hint = "Name a YAML file, module:attribute, or a ledger's folder"
        raise ConfigurationError("there is no such file", where=name, hint=hint)
    sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"it cannot be imported: {error}", where=name) from error


def _drawn(root: Place | None, width: int, depth: int) -> Iterator[str]:
    """Return the lines of the tree; by a loop, since a tree may be of any depth."""
    seen: set[Place] = set()
    waiting: list[tuple[Place | str | None, str, int]] = [(root, "", 0)]
    while waiting:
        place, indent, branched = waiting.pop()
        if isinstance(place, str):
            yield place
            continue
        if place is None:
            continue
        groups = _groups(place)
        if len(groups) == 1:
            [(texts, below, n)] = groups
            yield f"{indent}{printable(place.key)}: {_listed(texts, width)}{_count_of(place, n)}"
            waiting.append((below, indent, branched))
            continue
        yield f"{indent}{printable(place.key)}"
        following: list[tuple[Place | str | None, str, int]] = []
        for texts, below, n in groups[:width]:
            count = _count(below) * n
            head = f"{indent}  {_listed(texts, width)} ({count:,})"
            if below is None:
                following.append((head, "", 0))
            elif below in seen:
                following.append((f"{head}: from {printable(below.key)} on as above", "", 0))
            elif branched + 1 >= depth:
                following.append((f"{head}: {printable(below.key)} ...", "", 0))
            else:
                seen.add(below)
                following += [(head, "", 0), (below, f"{indent}    ", branched + 1)]
        if len(groups) > width:
            following.append((f"{indent}  and {len(groups) - width} more branches", "", 0))
        waiting += reversed(following)


def _groups(place: Place) -> list[tuple[list[str], Place | None, int]]:
    """Group the values of a level that share a subtree."""
    if place.interval is not None:
        values = place.values
        return [
            ([f"{typed(values[first])}..{typed(values[last])}"], place.below(first), last - first + 1)
            for first, last in place.runs()
        ]
    groups: dict[Place | None, list[str]] = {}
    for choice, value in enumerate(place.values):
        below = place.below(choice)
        groups.setdefault(below, []).append(typed(value))
    return [(texts, below, len(texts)) for below, texts in groups.items()]


def _count_of(place: Place, n: int) -> str:
    if place.interval is None:
        return ""
    return f" ({'log, ' * place.interval.log}{n:,} values)"


def _count(place: Place | None) -> int:
    return 1 if place is None else place.size


def _listed(texts: list[str], width: int) -> str:
    some = ", ".join(map(printable, texts[:width]))
    return some + (f" and {len(texts) - width:,} more" if len(texts) > width else "")
