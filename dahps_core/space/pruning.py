"""One branch of a search space: the combinations that fulfil conditions on some keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from dahps_core.errors import ConfigurationError
from dahps_core.model.combination import Value, canonical
from dahps_core.space.conditions import Condition
from dahps_core.space.exclusions import Having
from dahps_core.space.interval import Interval
from dahps_core.space.listed import Listed
from dahps_core.space.path import shown
from dahps_core.space.selection import Selection
from dahps_core.space.tree import Tree
from dahps_core.space.words import nearest

#: Number of choices named in an error.
_CHOICES_NAMED = 20


class Choices:
    """What the keys of a space can be, anywhere in it.

    Args:
        levels: Pairs of a key and its values at one place.
    """

    def __init__(self, levels: Collection[tuple[str, Sequence[Value]]]) -> None:
        self.values: dict[str, dict[str, Value]] = {}
        self.intervals: dict[str, list[Interval]] = {}
        for key, values in levels:
            known = self.values.setdefault(key, {})
            if isinstance(values, Listed):
                self.intervals.setdefault(key, []).append(values.interval)
            else:
                known.update((canonical(value), value) for value in values)

    def refuse_unknown(self, allowed: Mapping[str, Condition]) -> None:
        """Expect that the space has every key and every value.

        Raises:
            ConfigurationError: With the possible choices.
        """
        for key, condition in allowed.items():
            if key not in self.values:
                near = nearest(key, self.values)
                hint = f"Did you mean {near}?" if near else f"Its keys are {named(self.values)}"
                raise ConfigurationError(f"the space has no key {shown(key)}", where="only", hint=hint)
            unknown = [text for text in condition.texts if not self._has(key, text)]
            if unknown or not (condition.texts or condition.ranges):
                what = (
                    f"the space has no {key}={', '.join(sorted(unknown))}"
                    if unknown
                    else f"no value of {key}"
                )
                raise ConfigurationError(what, where="only", hint=f"Its values are {self._shown(key)}")

    def _has(self, key: str, text: str) -> bool:
        if text in self.values[key]:
            return True
        return any(one.position(one.number(text)) is not None for one in self.intervals.get(key, ()))

    def _shown(self, key: str) -> str:
        intervals = [f"{shown(one.low)}..{shown(one.high)}" for one in self.intervals.get(key, ())]
        return ", ".join([*intervals, *([named(self.values[key])] if self.values[key] else [])])


def named(choices: Collection[str]) -> str:
    """Name the first of some choices, for people."""
    some = ", ".join(map(shown_text, list(choices)[:_CHOICES_NAMED]))
    return some + (f" and {len(choices) - _CHOICES_NAMED} more" if len(choices) > _CHOICES_NAMED else "")


def shown_text(text: str) -> str:
    """Return a text on one short line, without added quotes."""
    return text if len(text) <= 70 and text.isprintable() else shown(text)


def prune(tree: Tree, root: int | None, allowed: Mapping[str, Condition]) -> tuple[Tree, int | None]:
    """Return the tree of the paths that pass all the keys of `allowed` and fulfil their conditions; in their
    order.

    Raises:
        ConfigurationError: There is no such path.
    """
    found = Selection(tree, Having(dict(allowed))).select(root)
    if found is None:
        what = f"no combination of the space has {', '.join(allowed)} with these values together"
        raise ConfigurationError(what, where="only", hint="Leave one of them out")
    return found
