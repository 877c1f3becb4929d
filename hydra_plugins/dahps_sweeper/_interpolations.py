"""Interpolations in the search space: they are resolved once, when the search starts, not by each trial."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from hydra.types import HydraContext, RunMode
from omegaconf import Container, DictConfig, OmegaConf

from dahps_core.errors import Fault, SearchSpaceError
from dahps_core.space import SearchSpace
from dahps_core.space.keys import bare
from dahps_core.space.path import Path, shown, step
from hydra_plugins.dahps_sweeper._overrides import Argument

#: What refers to another key: `${a.b}`, `${..b}`, also among a resolver's arguments; and `${oc.select:a.b}`.
_REFERENCE = re.compile(r"(?<!\\)\$\{\s*(?:oc\.select:\s*)?(\.*[A-Za-z_][\w@/.\[\]-]*)\s*(?=[},])")
_BEGIN = re.compile(r"(?<!\\)\$\{")
#: How an element is chosen in brackets.
_BRACKETS = re.compile(r"\[(\w+)\]")


def refuse_changing_references(
    context: HydraContext, config: DictConfig, space: SearchSpace, arguments: Mapping[str, Argument]
) -> None:
    """Raise if the search space refers to a key that its trials set: it would get the base config's value.

    Args:
        context: Hydra's context.
        config: The multirun's.
        space: The search's, with what the command line adds.
        arguments: The command line's; the fixed ones are in the multirun's config already.

    Raises:
        SearchSpaceError: With each place in the tree that does so.
    """
    search = config.hydra.sweeper._get_node("search")
    tree = OmegaConf.to_container(search) if isinstance(search, Container) else search._value()
    if "${" not in str(tree):
        return
    fixed = {key for key, argument in arguments.items() if not argument.is_sweep}
    changed = {_config_key(key): key for _, key, _ in space.levels() if key not in fixed}
    unresolved = _composed_again(context, config)
    faults = [
        Fault(
            str(place),
            f"{shown(text)} is resolved once, when the search starts, but each trial sets {changed[key]}",
            f"write {_escaped(text)}, which each trial resolves",
        )
        for place, own, text in _in_tree(tree, unresolved)
        # A key's own values may name the base config's value.
        if (key := _changed_one(text, unresolved, changed.keys() - {own}))
    ]
    if faults:
        raise SearchSpaceError(faults)


def _composed_again(context: HydraContext, config: DictConfig) -> dict[Any, Any]:
    """Return the multirun's config unresolved: Hydra resolves what a sweeper's options refer to."""
    # What brings configs into `hydra` was put aside, and is in both lists.
    overrides = list(dict.fromkeys([*config.hydra.overrides.hydra, *config.hydra.overrides.task]))
    name = config.hydra.job.config_name
    composed = context.config_loader.load_configuration(name, overrides, run_mode=RunMode.MULTIRUN)
    found = OmegaConf.to_container(composed)
    assert isinstance(found, dict)
    return found


def _config_key(key: str) -> str:
    """Return where a key of the space writes: an option of a config group goes into its package."""
    group, _, package = bare(key).partition("@")
    return package or group.replace("/", ".")


def _in_tree(tree: Any, config: dict[Any, Any]) -> Iterator[tuple[Path, str, str]]:
    """Yield each string of an unresolved search space with its place, and the key that it is a value of."""
    waiting: list[tuple[Path | None, str, Any]] = [(None, "", tree)]
    followed: set[str] = set()
    while waiting:
        place, own, value = waiting.pop()
        if isinstance(value, str):
            referred = _REFERENCE.match(value)
            is_whole = referred and referred.end() == len(value) - 1 and referred[1] not in followed
            below = _raw(config, referred[1]) if referred and is_whole else None
            if referred and isinstance(below, dict | list):
                # A part of the tree defined elsewhere in the config: its contents have their place here.
                followed.add(referred[1])
                waiting.append((place, own, below))
            else:
                yield place or Path("search"), own, value
        elif isinstance(value, dict):
            waiting += reversed([(*_below(place, value, name), one) for name, one in value.items()])
        elif isinstance(value, list):
            at = place or Path("search")
            waiting += reversed([(at.element(index), own, one) for index, one in enumerate(value)])


def _below(place: Path | None, node: dict[Any, Any], name: Any) -> tuple[Path, str]:
    """Return the path of an entry, and the key whose value it is."""
    key = node.get("key")
    if place is None:
        return Path(step(name)), ""
    if str(place) == "common":
        return place / step(name), _config_key(str(name))
    if not isinstance(key, str) or name == "key":
        return place / step(name), ""
    if name == "values":
        return place / step(name), _config_key(key)
    return place.passed(key) / step(name), ""


def _changed_one(text: str, config: dict[Any, Any], changed: Collection[str]) -> str | None:
    """Return the key, among those that trials change, on which a text depends; None if there is none."""
    waiting, seen = list(_references(text, "")), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if found := next((key for key in changed if _overlap(name, key)), None):
            return found
        waiting += [one for at, value in _strings(name, _raw(config, name)) for one in _references(value, at)]
    return None


def _references(text: str, at: str) -> Iterator[str]:
    """Yield the keys that a text at a key refers to."""
    for found in _REFERENCE.findall(text):
        name = _BRACKETS.sub(r".\1", found)
        n_up = len(name) - len(name.lstrip("."))
        if n_up and not at:
            continue  # within the tree itself
        if n_up:
            name = ".".join([*at.split(".")[:-n_up], name.lstrip(".")])
        yield name


def _raw(config: dict[Any, Any], name: str) -> Any:
    """Return the unresolved value of a key; None if there is none."""
    value: Any = config
    for part in name.split("."):
        if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def _strings(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict | list):
        for name, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(f"{key}.{name}", below)


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _escaped(text: str) -> str:
    return _BEGIN.sub(r"\\${", text)
