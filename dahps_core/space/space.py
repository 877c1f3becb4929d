"""The search space: a nested conditional tree that is counted and indexed, and never enumerated."""

from __future__ import annotations

import hashlib
import math
import operator
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from dahps_core.model.combination import Combination, Value, canonical
from dahps_core.space.conditions import read_conditions
from dahps_core.space.config import read_config
from dahps_core.space.differences import differences
from dahps_core.space.listed import Listed
from dahps_core.space.path import Path, shown
from dahps_core.space.permutation import Permutation
from dahps_core.space.place import Place
from dahps_core.space.pruning import Choices, prune
from dahps_core.space.sampling import covering
from dahps_core.space.tree import Node, Tree


class SearchSpace:
    """All combinations that a tree describes, in grid order: the first level changes slowest.

    A space is immutable, independent of Hydra and files, and needs memory for its distinct nodes only.

    Attributes:
        size: How many combinations there are, of any size; equal ones, which only `check_unique: false`
            allows, are counted each.
        repetitions: How many times each combination is to be evaluated.
        common: Key -> the one value that every combination has, before those of the tree.
    """

    def __init__(self, tree: Tree, root: int | None, common: Mapping[str, Value], repetitions: int) -> None:
        self._tree = tree
        self._root = root
        self.common = dict(common)
        self.repetitions = repetitions
        self.size = tree.count(root)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SearchSpace:
        """Read the space that a person wrote.

        Args:
            config: `root` (a node, or None for a space of one combination), and if wanted `common`,
                `exclude`, `check_unique`, `repetitions`. A node has `key`; `values` (and `weights`) or
                `interval` (and `log`, `step`, `points`); `default`, a subtree per value, in the node itself
                or under `cases`; and `then`. Plain mappings, lists and tuples; subtrees may be shared.

        Raises:
            SearchSpaceError: With every fault of the config.
        """
        return cls(*read_config(config))

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> SearchSpace:
        """Make the space that a `definition` describes."""
        tree = Tree()
        root = tree.graft(definition)
        return cls(tree, root, definition["common"], definition["repetitions"])

    def definition(self) -> dict[str, Any]:
        """Return the space as JSON types, the same for equal trees however their subtrees are shared."""
        nodes = [node.definition() for node in self._tree.nodes]
        return {
            "nodes": nodes,
            "root": self._root,
            "common": dict(self.common),
            "repetitions": self.repetitions,
        }

    def digest(self) -> str:
        """Return the SHA-256 of the definition, in hexadecimal."""
        return hashlib.sha256(canonical(self.definition()).encode()).hexdigest()

    def has_combinations_of(self, other: SearchSpace) -> bool:
        """Return whether another space differs from this one at most in the order of its values."""
        mine, others = (
            (one._tree.unordered(one._root), canonical(one.common), one.repetitions) for one in (self, other)
        )
        return mine == others

    def differences(self, other: SearchSpace) -> list[str]:
        """Return what `other` adds to this space, removes from it and changes in it, one readable
        line each.
        """
        return differences(self.definition(), other.definition())

    def only(self, only: Mapping[str, Value]) -> SearchSpace:
        """Return the branch of the combinations that have all of these keys, each with one of these values.

        Args:
            only: Key -> a value, or a list of several. Nothing is enumerated, whatever the branch's size.

        Raises:
            ConfigurationError: The space lacks a key or a value, or has no path with all of them.
        """
        allowed = read_conditions(only)
        Choices([(key, values) for _, key, values in self.levels()]).refuse_unknown(allowed)
        decided = {key: one for key, one in allowed.items() if key not in self.common}
        return SearchSpace(*prune(self._tree, self._root, decided), self.common, self.repetitions)

    @cached_property
    def has_intervals(self) -> bool:
        """Whether a key has an interval whose values no person has listed, by points or a step."""
        return any(
            isinstance(node.values, Listed) and node.values.interval.step is None for node in self._tree.nodes
        )

    @property
    def root(self) -> Place | None:
        """Where a walk to a combination begins; None if the tree decides nothing."""
        return None if self._root is None else Place(self._tree, self._root)

    @property
    def n_trials(self) -> int:
        """How many evaluations the whole space requires: its size times its repetitions."""
        return self.size * self.repetitions

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Combination]:
        return map(self.__getitem__, range(self.size))

    def shuffled(self, seed: int) -> Iterator[Combination]:
        """Yield all combinations, each once, in a random order that depends on the seed alone."""
        return map(self.__getitem__, Permutation(self.size, seed))

    def sample(self) -> Iterator[Combination]:
        """Return a few combinations that contain each value of each key at least once, the same ones each
        time.
        """
        return map(self.__getitem__, covering(self._tree, self._root))

    def alike(self) -> dict[str, Value]:
        """Return key -> value for each key that all combinations set to one and the same value."""
        return {**self._tree.alike(self._root), **self.common}

    def levels(self) -> Iterator[tuple[str, str, Sequence[Value]]]:
        """Yield path, key and values of each distinct node once, after those of `common`."""
        for key, value in self.common.items():
            yield str(Path("common") / key), key, (value,)
        for path, node in self._tree.walk(self._root):
            yield str(path), node.key, node.values

    def __getitem__(self, position: int) -> Combination:
        """Return the combination at a position of the grid; negative ones count from the end.

        Raises:
            IndexError: If the space has no such position.
        """
        index = operator.index(position)
        if not -self.size <= index < self.size:
            raise IndexError(f"position {shown(index)} of a space of {shown(self.size)} combinations")
        index %= self.size
        items = list(self.common.items())
        occurrence = 0
        number = self._root
        while number is not None:
            node = self._tree.nodes[number]
            choice = bisect_right(node.ends, index)
            index -= node.ends[choice - 1] if choice else 0
            items.append((node.key, node.values[choice]))
            if node.repeats:
                twins = node.positions_of(node.values[choice])
                occurrence = occurrence * len(twins) + twins.index(choice)
            number = node.children[choice]
        return Combination(items, occurrence)

    def index(self, combination: Combination) -> int:
        """Return the position of a combination: `space.index(space[i]) == i`.

        Raises:
            ValueError: If the space does not have it.
        """
        twins_by_node = self._path(combination)
        index = 0
        occurrence = combination.occurrence
        for node, twins in reversed(twins_by_node):
            occurrence, which = divmod(occurrence, len(twins))
            choice = twins[which]
            index += node.ends[choice - 1] if choice else 0
        return index

    def has(self, combination: Mapping[str, Value], repetition: int, *, may_be_between: bool = False) -> bool:
        """Return whether a trial is one of the space's, or may be, between the listed values.

        Args:
            combination: The trial's.
            repetition: The trial's; equal combinations of the space have successive ones.
            may_be_between: Whether numbers inside an interval will do, listed or not.
        """
        numbered = Combination(combination.items(), repetition // self.repetitions)
        try:
            self._path(numbered, may_be_between=may_be_between)
        except ValueError:
            return False
        return True

    def matching(self, combination: Combination) -> Combination:
        """Return a combination of the space, or one between its listed values, with its keys in path order.

        Raises:
            ValueError: If the space does not have it.
        """
        path = self._path(combination, may_be_between=True)
        keys = [*self.common, *(node.key for node, _ in path)]
        return Combination([(key, combination[key]) for key in keys], combination.occurrence)

    def _path(
        self, combination: Combination, *, may_be_between: bool = False
    ) -> list[tuple[Node, list[int]]]:
        """Return the nodes that a combination passes, with the choices at each that equal its own."""
        for key, value in self.common.items():
            if key not in combination or canonical(combination[key]) != canonical(value):
                raise ValueError(f"every combination of the space has {key}={shown(value)}")
        path = []
        number = self._root
        while number is not None:
            node = self._tree.nodes[number]
            if node.key not in combination:
                raise ValueError(f"the combination lacks {node.key!r}")
            value = combination[node.key]
            twins = node.positions_of(value, may_be_between=may_be_between)
            if not twins:
                raise ValueError(f"the space has no {node.key}={shown(value)} there")
            path.append((node, twins))
            number = node.children[twins[0]]
        if surplus := set(combination) - set(self.common) - {node.key for node, _ in path}:
            raise ValueError(f"the space does not decide {', '.join(sorted(surplus))} there")
        if combination.occurrence >= math.prod(len(twins) for _, twins in path):
            raise ValueError(f"the space has no occurrence {combination.occurrence} of {combination!r}")
        return path
