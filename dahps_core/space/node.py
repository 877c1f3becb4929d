"""Reading one node of a search space's config: its key, its values, and which subtree is whose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dahps_core.errors import Fault
from dahps_core.model.combination import Value, canonical
from dahps_core.space.entries import entries
from dahps_core.space.interval import Interval
from dahps_core.space.interval_words import IntervalReader, read_weights
from dahps_core.space.path import Path, shown, step, value_step
from dahps_core.space.values import named_value, plain, target_fault, value_faults
from dahps_core.space.words import key_faults, nearest

_WORDS = ("key", "values", "interval", "log", "step", "points", "weights", "default", "cases", "then")

#: Under which a node keeps what follows, whatever was chosen.
THEN = "then"

#: Among more values none is looked for that a misspelt case may mean: it would be compared with each of them.
_MAX_COMPARED = 100


@dataclass(eq=False)
class RawNode:
    """A node as it was read, faults and all.

    Attributes:
        config: The mapping; kept alive, since its identity distinguishes nodes.
        path: The first path to it.
        key: Empty if it could not be read.
        values: Canonical text -> value, of those that could be read.
        texts: The canonical texts in grid order, repeats and all.
        interval: Instead of listed values.
        weights: Of each value, in grid order; None: they weigh the same.
        subtrees: What is written for a value, under its canonical text; for the other values, under None;
            for no value at all, under its path; and what follows all of them, under `THEN`. Each with its
            path.
        read: The node that was read for each of `subtrees`; None for a leaf.
        is_open: Whether the reading is still inside of it: meeting it again is a cycle.
    """

    config: Mapping[Any, Any]
    path: Path
    key: str = ""
    values: dict[str, Value] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    interval: Interval | None = None
    weights: list[float] | None = None
    subtrees: dict[object, tuple[Any, Path]] = field(default_factory=dict)
    read: dict[object, RawNode | None] = field(default_factory=dict)
    is_open: bool = True

    @property
    def children(self) -> list[RawNode | None]:
        """The node that each value leads to; None for a leaf."""
        default = self.read.get(None)
        if self.interval is not None:
            return [default]
        return [self.read.get(text, default) for text in self.texts]

    @property
    def distinct_children(self) -> list[RawNode]:
        """The nodes that its values lead to, each once."""
        return list(dict.fromkeys(child for child in self.children if child is not None))


def read_node(config: Mapping[Any, Any], path: Path, faults: list[Fault], *, check_unique: bool) -> RawNode:
    """Read a node, but not its subtrees; what is wrong with it goes to `faults`."""
    node = RawNode(config, path)
    names = entries(config, path, faults)
    if not names:
        if names is not None:
            faults.append(Fault(str(path), "an empty mapping", "write null for a leaf"))
        return node
    reading = _Reading(node, names, faults)
    reading.read_values()
    reading.read_key()
    reading.read_weights()
    reading.read_subtrees()
    if check_unique:
        reading.refuse_repeats()
    return node


class _Reading:
    """What is still to be read of one node.

    Attributes:
        names: The entries that are no words: cases, and misspelt words.
        steps: The name that each value has as a case -> the value; made when it is first needed.
        words: Word -> its contents, and its path.
        knows_values: Whether every value could be read, so that cases can be held against them.
    """

    def __init__(self, node: RawNode, names: dict[Any, Any], faults: list[Fault]) -> None:
        self.node = node
        self.faults = faults
        self.names = names
        self.steps: dict[str, Value] | None = None
        self.words = {word: (self.names.pop(word), node.path / word) for word in _WORDS if word in self.names}
        self.knows_values = False
        if "_target_" in self.names:
            del self.names["_target_"]
            faults.append(target_fault(node.path))

    def read_values(self) -> None:
        if "interval" in self.words:
            self._read_interval()
            return
        self._adopt_misspelt("values", lambda found: found is not None and not isinstance(found, Mapping))
        for word in ("log", "step", "points"):
            if word in self.words:
                self._fault(
                    self.words[word][1], f"`{word}` without an interval", "write `interval: [low, high]`"
                )
        if "values" not in self.words:
            self._fault(self.node.path, "no `values`", "list what the key can be, or give an `interval`")
            return
        found, path = self.words["values"]
        if not isinstance(found, (list, tuple)):
            self._fault(path, f"{shown(found)} is not a list", "write a list, even of one value")
        elif not found:
            self._fault(path, "is empty", "list at least one value")
        else:
            faults = [
                fault for index, one in enumerate(found) for fault in self._read_value(one, path, index)
            ]
            self.faults += faults
            self.knows_values = not faults

    def _read_interval(self) -> None:
        words = {word: self.words[word] for word in IntervalReader.WORDS if word in self.words}
        for word in ("values", "weights", "cases"):
            if word in self.words:
                self._fault(self.words[word][1], f"`{word}` beside an interval", "keep one of them")
        reader = IntervalReader(words, self.faults)
        if (points := reader.points()) is not None:
            self.node.texts = [canonical(value) for value in points]
            self.node.values = dict(zip(self.node.texts, points, strict=True))
            self.knows_values = True
        else:
            self.node.interval = reader.interval()

    def read_weights(self) -> None:
        if "weights" not in self.words or not self.knows_values or "interval" in self.words:
            return
        found, path = self.words["weights"]
        self.node.weights = read_weights(found, path, self.node.texts, self.faults)

    def _read_value(self, found: Any, path: Path, index: int) -> list[Fault]:
        faults = value_faults(found, path.element(index))
        if not faults:
            value = plain(found)
            self.node.texts.append(canonical(value))
            self.node.values.setdefault(self.node.texts[-1], value)
        return faults

    def refuse_repeats(self) -> None:
        for text, count in Counter(self.node.texts).items():
            if count > 1:
                what = f"{shown(self.node.values[text])} appears here {count} times"
                self._fault(self.words["values"][1], what, "write it once, or set `check_unique: false`")

    def read_key(self) -> None:
        self._adopt_misspelt("key", lambda found: isinstance(found, str))
        if "key" not in self.words:
            self._fault(self.node.path, "no `key`", "give the key of the values")
            return
        key, path = self.words["key"]
        faults = list(key_faults(key, path))
        self.faults += faults
        if not faults:
            self.node.key = key

    def read_subtrees(self) -> None:
        # Before misspelt words are looked for: `defaults` may well be a value.
        in_node = [(name, self.names.pop(name)) for name in list(self.names) if self._text(name) is not None]
        self._adopt_misspelt("default", lambda found: found is None or isinstance(found, Mapping))
        self._adopt_misspelt("cases", lambda found: isinstance(found, Mapping) and not self._has_key(found))
        passed = self.node.path.passed(self.node.key)
        if THEN in self.words:
            found, path = self.words[THEN]
            self.node.subtrees[THEN] = found, path.below(passed)
        if "default" in self.words:
            found, path = self.words["default"]
            self.node.subtrees[None] = found, path.below(passed)
        for name, found in [*in_node, *self.names.items()]:
            self._add_case(name, found, self.node.path, passed)
        for name, found in self._listed_cases():
            path = self.words["cases"][1]
            self._add_case(name, found, path, path.below(passed))
        if self.node.interval is not None and "default" not in self.words:
            self._fault(self.node.path, "no `default`", "add one; `default: null` ends the path")
        if self.knows_values:
            self._refuse_orphans()

    def _has_key(self, found: Mapping[Any, Any]) -> bool:
        return "key" in (entries(found, self.node.path, []) or ())  # its class may raise at the question

    def _listed_cases(self) -> Iterator[tuple[Any, Any]]:
        cases, path = self.words.get("cases", ({}, self.node.path))
        if not isinstance(cases, Mapping):
            self._fault(path, f"{shown(cases)} is not a mapping", "write a mapping of value to subtree")
            return
        for name, found in (entries(cases, path, self.faults) or {}).items():
            if name == "_target_":
                self.faults.append(target_fault(path))
            else:
                yield name, found

    def _add_case(self, name: Any, found: Any, path: Path, passed: Path) -> None:
        """Keep the subtree of a case.

        Args:
            name: Of the case.
            found: The contents.
            path: The place of all cases.
            passed: The same, for the places below.
        """
        place, below = path / step(name), passed / step(name)
        text = self._text(name)
        if text is None:
            if self.node.interval is not None:
                self._fault(place, "a subtree of one value of an interval", "write it under `default`")
            elif self.knows_values:
                self._fault(place, f"{shown(name)} is not in `values`", self._meant(name))
        elif text in self.node.subtrees:
            self._fault(place, f"a second subtree for {shown(name)}", "write one")
        else:
            self.node.subtrees[text] = (found, below)
            return
        if isinstance(found, Mapping):
            # It belongs to no value, but is read for the faults that are in it.
            self.node.subtrees[place] = (found, below)

    def _text(self, name: Any) -> str | None:
        return named_value(name, self.node.values)

    def _meant(self, name: Any) -> str:
        if self.steps is None:
            self.steps = {value_step(value): value for value in self.node.values.values()}
        if step(name) in self.steps:
            return f"the value is {shown(self.steps[step(name)])}, of another type"
        values = self.steps if len(self.steps) <= _MAX_COMPARED else ()
        near = nearest(name, [*values, *(word for word in _WORDS if word not in self.words)])
        return f"did you mean {near}?" if near else "a case is named as its value is written"

    def _refuse_orphans(self) -> None:
        """Refuse a value without a subtree of its own where there is no default."""
        orphans = [shown(value) for text, value in self.node.values.items() if text not in self.node.subtrees]
        if orphans and "default" not in self.words:
            some = ", ".join(orphans[:3]) + (f" and {len(orphans) - 3} more" if len(orphans) > 3 else "")
            hint = "add one; `default: null` makes leaves of them"
            self._fault(self.node.path, f"no `default`, and no subtree for {some}", hint)

    def _adopt_misspelt(self, word: str, fits: Callable[[Any], bool]) -> None:
        """Read an entry that resembles a missing word as that word."""
        if word in self.words:
            return
        names = [name for name, found in self.names.items() if isinstance(name, str) and fits(found)]
        name = nearest(word, names)
        if name is not None:
            path = self.node.path / name
            self._fault(path, "unknown word", f"write `{word}`")
            self.words[word] = (self.names.pop(name), path)

    def _fault(self, path: Path, what: str, hint: str | None = None) -> None:
        self.faults.append(Fault(str(path), what, hint))
