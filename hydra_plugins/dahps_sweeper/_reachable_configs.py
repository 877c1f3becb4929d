"""Which configs the trials of a search may be composed of, and what these say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from hydra._internal.config_repository import IConfigRepository
from hydra.core.default_element import ConfigDefault, GroupDefault, InputDefault
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from dahps_core.errors import ConfigurationError, Fault, SearchSpaceError
from dahps_core.space import SearchSpace
from dahps_core.space.keys import bare
from dahps_core.space.listed import representatives
from dahps_core.space.path import shown


def reached_configs(
    repository: IConfigRepository, config: DictConfig, space: SearchSpace
) -> dict[str, dict[str, Any]]:
    """Map each config that a combination may bring in to its own keys and their values, unresolved.

    They are found along the defaults lists, from what the multirun was composed of and from the config groups
    that the space sets; where a name is an interpolation, all options of its group count. What belongs to
    `hydra` is read, but not returned: it says how trials are run, and not what they are. Nor is returned
    what the app's own config says of keys that every combination sets.

    Args:
        repository: Where they are; all is read of it that a trial will read.
        config: The multirun's.
        space: The search's.

    Raises:
        SearchSpaceError: The space names options that a config group has not.
        ConfigurationError: A config cannot be read.
    """
    choices = _choices(config)
    primary = config.hydra.job.config_name
    contents: dict[str, dict[str, Any]] = {}
    for path, package, found in _reached(repository, [*_options_in(space, repository), *_starts(config)]):
        if package.partition(".")[0] != "hydra":
            contents[path] = _content(found, package)
    if primary in contents:  # the options that it names may be overridden: what was chosen counts
        chosen = {
            f"defaults.{key}": name
            for key, name in choices.items()
            if not (_is_hydras(key) or says_only_how_to_run(repository, key, str(name)))
        }
        decided = {"defaults", *_decided(space)}
        says = {**contents[primary], **chosen}
        contents[primary] = {key: says[key] for key in says if key.removeprefix("defaults.") not in decided}
    return {path: contents[path] for path in sorted(contents)}


def says_only_how_to_run(repository: IConfigRepository, group: str, name: str) -> bool:
    """Return whether an option of a config group, with all that it brings in, sets keys of `hydra` alone."""
    if not repository.group_exists(group.partition("@")[0]):
        return False
    keys = [key for reached in _reached(repository, [_option(group, name)]) for key in _set_by(*reached)]
    return bool(keys) and all(key.partition(".")[0] == "hydra" for key in keys)


def _set_by(path: str, package: str, found: ConfigResult) -> Iterator[str]:
    """Yield the keys that a config sets, and the groups of which it overrides what others chose."""
    if found.config:
        content = OmegaConf.to_container(found.config, enum_to_str=True)
        yield from (key for key, _ in _leaves(package, content))
    for entry in found.defaults_list or ():
        if isinstance(entry, GroupDefault) and entry.is_override():
            yield "hydra" if _is_hydras(_shown(entry)) else _shown(entry)


def is_set_by_person(repository: IConfigRepository, config: DictConfig, key: str, provider: str) -> bool:
    """Return whether a key of `hydra` has its value from the command line, or from a config of the app.

    Args:
        repository: Where the configs are.
        config: The multirun's.
        key: Such as `hydra.launcher.timeout_min`.
        provider: Of the config that has the default.
    """
    last = key.rpartition(".")[2]
    if any(last in override for override in config.hydra.overrides.hydra):
        return True
    for _, package, found in _reached(repository, _starts(config)):
        keys = dict(_leaves(package, OmegaConf.to_container(found.config, enum_to_str=True)))
        if key in keys and found.provider != provider:
            return True
    return False


def keys_without_value(config: DictConfig) -> list[str]:
    """Return the app's own keys that a composed config leaves at `???`."""
    leaves = _leaves("", OmegaConf.to_container(config))
    return [key for key, value in leaves if value == "???" and not key.startswith("hydra.")]


def _choices(config: DictConfig) -> dict[str, Any]:
    # Unresolved: an option that each combination sets may still be ???.
    choices: Any = OmegaConf.to_container(config.hydra.runtime.choices)
    return dict(choices)


def _starts(config: DictConfig) -> list[InputDefault]:
    """Return what the multirun was composed of: where the defaults lists begin."""
    starts = [ConfigDefault(path="hydra/config"), *(_option(*choice) for choice in _choices(config).items())]
    if primary := config.hydra.job.config_name:
        starts.append(ConfigDefault(path=primary, primary=True))
    return starts


def _reached(
    repository: IConfigRepository, starts: list[InputDefault]
) -> Iterator[tuple[str, str, ConfigResult]]:
    """Yield the path, the package and the content of each config along the defaults lists."""
    waiting = [one for start in starts for one in _alternatives(start, "", "", repository)]
    seen = set()
    while waiting:
        default = waiting.pop()
        place = default.get_config_path(), default.get_final_package()
        if place in seen or not repository.config_exists(place[0]):
            continue  # not there: it is optional, or overridden; else no trial can be composed
        seen.add(place)
        found = _read(repository, place[0])
        default.set_package_header(found.header["package"])
        package = default.get_final_package()
        yield place[0], package, found
        for entry in found.defaults_list or ():
            if not (default.primary and _is_chosen(entry)):
                waiting += _alternatives(entry, default.get_group_path(), package, repository)


def _read(repository: IConfigRepository, path: str) -> ConfigResult:
    try:
        found = repository.load_config(path)
    except (YAMLError, ValueError) as error:  # ValueError: its header, its defaults list, its encoding
        raise ConfigurationError(f"this config cannot be read: {error}", where=path) from error
    assert found is not None
    return found


def _options_in(space: SearchSpace, repository: IConfigRepository) -> list[InputDefault]:
    """Return the options of config groups among the space's values."""
    options: list[InputDefault] = []
    faults: list[Fault] = []
    for path, key, values in space.levels():
        group = bare(key).partition("@")[0]
        if key.startswith("~") or not repository.group_exists(group):
            continue
        there = repository.get_group_options(group)
        # Hydra merges a mapping into the config, whatever groups there are.
        for name in _flat(value for value in representatives(values) if not isinstance(value, dict)):
            if not isinstance(name, str):
                faults.append(Fault(path, *_no_name(name, group, there)))
            elif "${" not in name and not repository.config_exists(f"{group}/{name}"):
                what = f"the config group {group} has no {shown(name)}"
                faults.append(Fault(path, what, f"it has {', '.join(there)}"))
            elif "${" not in name:
                options.append(_option(bare(key), name))
    if faults:
        raise SearchSpaceError(list(dict.fromkeys(faults)))
    return options


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _no_name(value: Any, group: str, there: list[str]) -> tuple[str, str]:
    """Return what is wrong with a value that is no option's name, and what to write."""
    what = f"{shown(value)} is not an option of the config group {group}, whose options are strings"
    if (text := json.dumps(value)) in there:
        return what, f'quote it: "{text}"'
    advice = f"it has {', '.join(there)}"
    return what, advice + ("; for none of them, add an option whose file is empty" if value is None else "")


def _option(key: str, name: Any) -> InputDefault:
    group, _, package = key.partition("@")
    return GroupDefault(group=group, package=package or None, value=name)


def _is_chosen(entry: InputDefault) -> bool:
    """Return whether an entry of the app's own defaults list is among the multirun's choices."""
    return isinstance(entry, GroupDefault) and not entry.is_interpolation()


def _alternatives(
    entry: InputDefault, folder: str, package: str, repository: IConfigRepository
) -> Iterator[InputDefault]:
    """Yield the configs that an entry of a defaults list may stand for, in a folder and a package."""
    if entry.is_self() or entry.is_missing():
        return
    entry.update_parent(folder, package)
    if isinstance(entry, GroupDefault):
        if entry.is_interpolation():
            names = list(_below(entry.get_group_path(), repository))
        else:
            names = entry.get_options() if entry.is_options() else [*filter(None, [entry.get_name()])]
        yield from (replace(entry, value=name) for name in names)
    elif isinstance(entry, ConfigDefault) and entry.is_interpolation():
        group = entry.get_config_path().partition("${")[0].rpartition("/")[0]
        for name in _below(group, repository) if group else ():
            yield replace(entry, path=f"/{group}/{name}")
    else:
        yield entry


def _below(group: str, repository: IConfigRepository) -> Iterator[str]:
    """Yield the options of a group and of the groups in it."""
    yield from repository.get_group_options(group)
    for inner in repository.get_group_options(group, ObjectType.GROUP):
        yield from (f"{inner}/{name}" for name in _below(f"{group}/{inner}", repository))


def _decided(space: SearchSpace) -> Iterator[str]:
    """Yield the keys that all combinations set, as far as that is easily seen."""
    for path, key, _ in space.levels():
        if path == "root" or path.startswith("common"):
            yield bare(key)


def _content(found: ConfigResult, package: str) -> dict[str, Any]:
    content = dict(_leaves("", OmegaConf.to_container(found.config, enum_to_str=True)))
    if package == "":
        content = {key: value for key, value in content.items() if key.partition(".")[0] != "hydra"}
    if header := found.header["package"]:
        content["@package"] = header
    if entries := [text for text in map(_shown, found.defaults_list or ()) if not _is_hydras(text)]:
        content["defaults"] = entries
    return content


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _leaves(f"{key}.{name}" if key else str(name), below)
    else:
        yield key, json.loads(json.dumps(value, default=_text))


def _text(value: object) -> str:
    # An object's own text may have its address in it, which is another one each time.
    return str(value) if isinstance(value, PurePath | bytes) else type(value).__qualname__


def _shown(entry: InputDefault) -> str:
    """Return an entry of a defaults list, as people write it."""
    package = f"@{entry.package}" if entry.package else ""
    if isinstance(entry, GroupDefault):
        return f"{entry.group}{package}: {entry.value}"
    assert isinstance(entry, ConfigDefault)
    return f"{entry.path}{package}"


def _is_hydras(entry: str) -> bool:
    return entry.lstrip("/").startswith("hydra/") or "@hydra." in entry
