"""Between combinations and the namespaces of argparse."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from dahps_core.errors import ConfigurationError
from dahps_core.model.combination import Value


def to_namespace(combination: Mapping[str, Value], args: Namespace | None) -> Namespace:
    """Make a namespace with an attribute for each key, under the key's own name, dots and all.

    Args:
        combination: Takes precedence.
        args: The script's own arguments, which stay as they are; None: there are none.
    """
    return Namespace(**{**vars(args or Namespace()), **combination})


def space_config(names: Sequence[str], args: Namespace) -> dict[str, Any]:
    """Make the config of the space of the lists among a script's arguments, the first one outermost.

    Raises:
        ConfigurationError: If one of the names is no attribute, or what it names is no list.
    """
    if isinstance(names, str):
        raise ConfigurationError(
            f"{names!r} is not a list of names", where="search_space", hint=f"Write [{names!r}]"
        )
    node: dict[str, Any] | None = None
    for name in reversed(names):
        node = {"key": name, **_choices(name, args), "default": node}
    return {"root": node}


def _choices(name: str, args: Namespace) -> dict[str, Any]:
    found = vars(args).get(name)
    if isinstance(found, Mapping) and "interval" in found:
        return dict(found)
    return {"values": _values(name, args), "cases": {}}


def _values(name: str, args: Namespace) -> list[Any]:
    if name not in vars(args):
        raise ConfigurationError(
            f"the arguments have no {name!r}",
            where="search_space",
            hint=f"They have {', '.join(vars(args)) or 'nothing at all'}",
        )
    values = vars(args)[name]
    if not isinstance(values, (list, tuple)):
        raise ConfigurationError(
            f"the argument {name!r} is {values!r}, not a list of values",
            where="search_space",
            hint="Let it take several: add_argument(..., nargs='+')",
        )
    return list(values)
