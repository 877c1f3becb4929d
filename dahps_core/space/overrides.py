r"""A combination as Hydra overrides, which Hydra's own parser turns back into exactly the same values.

Written for the override grammar that Hydra 1.3 and 1.4 share (`hydra/grammar/OverrideLexer.g4`). What happens
to the values afterwards is OmegaConf's affair, as on the command line: `${...}` is an interpolation, and
refused by it without its closing brace; the string `???` is a value that is missing; a mapping is merged into
the mapping that the config has there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from dahps_core.errors import Fault, OverrideError
from dahps_core.model.combination import Value
from dahps_core.space import SearchSpace
from dahps_core.space.listed import representatives
from dahps_core.space.path import shown
from dahps_core.text.printing import printable

_NAME = r"[A-Za-z_][\w-]*"
_STEP = r"(?:[A-Za-z_$][\w$-]*|0|[1-9](?:_?\d)*)"
_PACKAGE = rf"(?:[A-Za-z_$][\w$-]*|{_STEP}(?:\.{_STEP})+)"
_KEY = re.compile(rf"(?:~|\+\+?)?(?:{_PACKAGE}|{_NAME}(?:/{_NAME})+)(?:@{_PACKAGE})?", re.ASCII)

#: Strings that need no quotes, unless they read as a constant.
_PLAIN = re.compile(rf"{_NAME}(?:[./]+[\w-]+)*", re.ASCII)
_CONSTANT = re.compile(r"null|true|false|[+-]?(?:inf|nan)", re.IGNORECASE)

_DIGITS = r"\d(?:_?\d)*"
_INTEGER = r"(?:0|[1-9](?:_?\d)*)"
_POINT = rf"(?:{_INTEGER}\.|{_INTEGER}?\.{_DIGITS})"
_NUMBER = re.compile(rf"[+-]?(?:{_INTEGER}|{_POINT}|(?:{_INTEGER}|{_POINT})[eE][+-]?{_DIGITS})", re.ASCII)

#: A mapping's key cannot be quoted; some characters can be escaped, and no other characters are possible.
_MAPPING_KEY = re.compile(r"[\w/\-\\+.$%*@?|()\[\]{}:=, \t]+", re.ASCII)
_TO_ESCAPE = re.compile(r"[\\()\[\]{}:=, \t]")


def to_overrides(combination: Mapping[str, Value]) -> list[str]:
    """Return the override of each key, in the combination's order.

    Args:
        combination: The keys may be dotted, config groups, packages (`group@package`), and may have Hydra's
            prefixes. `~key` with the value None deletes, whatever the config has there.

    Raises:
        OverrideError: If the grammar cannot carry a key or a value.
    """
    return [_override(key, value) for key, value in combination.items()]


def shown_overrides(combination: Mapping[str, Value]) -> str:
    """Return the overrides on one line for people; JSON where Hydra's grammar cannot express them."""
    try:
        return printable(" ".join(to_overrides(combination)))
    except OverrideError:
        return json.dumps(dict(combination))


def shown_value(value: Value) -> str:
    """Return a value for people, as its override has it; JSON where Hydra's grammar cannot express it."""
    try:
        return printable(_text(value))
    except OverrideError:
        return json.dumps(value)


def override_faults(space: SearchSpace) -> list[Fault]:
    """Return the faults of every key and value that `to_overrides` would refuse, at the first place
    of each.
    """
    found = [
        _fault(path, key, value) for path, key, values in space.levels() for value in representatives(values)
    ]
    return list(dict.fromkeys(fault for fault in found if fault))


def _fault(path: str, key: str, value: Value) -> Fault | None:
    try:
        _override(key, value)
    except OverrideError as error:
        return Fault(path, error.what, error.hint)
    return None


def _override(key: str, value: Value) -> str:
    key = _checked_key(key)
    return key if key.startswith("~") and value is None else f"{key}={_text(value)}"


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise OverrideError(
            f"{shown(key)} is not a key that Hydra can set",
            hint="write name, dotted.name, group/subgroup or group@package, after +, ++ or ~ if needed",
        )
    return key


def _text(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_mapping_key(key)}:{_text(element)}' for key, element in value.items())}}}"
    return repr(value)


def _string(text: str) -> str:
    if _PLAIN.fullmatch(text) and not _CONSTANT.fullmatch(text):
        return text
    quote = '"' if "'" in text and '"' not in text else "'"

    def escaped(run: re.Match[str]) -> str:
        # A backslash means itself, but for those before a quote: they are doubled, the closing quote's too.
        if run[0].endswith(quote):
            return f"{2 * run[0][:-1]}\\{quote}"
        return 2 * run[0] if run.end() == len(text) else run[0]

    return quote + re.sub(rf"\\+{quote}?|{quote}", escaped, text) + quote


def _mapping_key(key: str) -> str:
    if not _MAPPING_KEY.fullmatch(key) or _CONSTANT.fullmatch(key) or _NUMBER.fullmatch(key):
        raise OverrideError(
            f"Hydra's overrides cannot carry the key {shown(key)} of a mapping",
            hint="rename it to a word of letters, digits and signs such as _ - . /",
        )
    return _TO_ESCAPE.sub(r"\\\g<0>", key)
