"""Reading the config of a search space: the tree that it describes, or all of its faults at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dahps_core.errors import Fault, SearchSpaceError
from dahps_core.model.combination import Value
from dahps_core.space.entries import entries
from dahps_core.space.exclusions import excluded, read_exclusions
from dahps_core.space.grafting import grafted
from dahps_core.space.keys import bare, clashes_with_common, repeats_on_a_path
from dahps_core.space.listed import Part
from dahps_core.space.node import RawNode
from dahps_core.space.path import Path, shown, step
from dahps_core.space.tree import Tree
from dahps_core.space.values import MAX_INTEGER_BITS, plain, target_fault, value_faults
from dahps_core.space.walk import NodeReader, in_post_order
from dahps_core.space.words import key_faults, nearest, unwrapped

_WORDS = ("root", "common", "exclude", "check_unique", "repetitions")

#: A ledger numbers the evaluations of a combination, by SQLite's integers.
_MAX_REPETITIONS = 2**63


def read_config(config: Any) -> tuple[Tree, int | None, dict[str, Value], int]:
    """Return the tree, its root's number, the common values and the repetitions.

    Raises:
        SearchSpaceError: With every fault of the config.
    """
    faults: list[Fault] = []
    envelope = _envelope(config, faults)
    common = _common(envelope.get("common"), faults)
    check_unique = _check_unique(envelope.get("check_unique", True), faults)
    repetitions = _repetitions(envelope.get("repetitions", 1), faults)
    root = NodeReader(faults, check_unique=check_unique).read(envelope.get("root"), Path("root"))
    exclusions = read_exclusions(envelope.get("exclude"), faults)
    nodes = in_post_order(grafted(root))
    faults += dict.fromkeys([*clashes_with_common(nodes, common), *repeats_on_a_path(nodes)])
    faults += _too_many(nodes, repetitions) if not faults else ()
    if faults:
        raise SearchSpaceError(faults)
    tree = Tree()
    return *excluded(tree, _grow(tree, nodes), common, exclusions), common, repetitions


def _too_many(nodes: Sequence[RawNode], repetitions: int) -> Iterator[Fault]:
    """Yield faults for numbers that are too large to write.

    Args:
        nodes: Children before their parents; without faults.
        repetitions: Of each combination.
    """
    sizes = {id(None): 1}
    equals = {id(None): 1}  # how often the most repeated combination is below a node
    for node in nodes:
        if node.interval is not None:
            (child,) = node.children
            sizes[id(node)], equals[id(node)] = len(node.interval) * sizes[id(child)], equals[id(child)]
            continue
        children = list(zip(node.texts, node.children, strict=True))
        times = Counter(node.texts)
        sizes[id(node)] = sum(sizes[id(child)] for _, child in children)
        equals[id(node)] = max(times[text] * equals[id(child)] for text, child in children)
    root = nodes[-1] if nodes else None
    if (sizes[id(root)] * repetitions).bit_length() > MAX_INTEGER_BITS:
        yield Fault("root", "more than 10^4000 trials", "search a part of them")
    if equals[id(root)] * repetitions > _MAX_REPETITIONS:
        yield Fault("repetitions", "a combination would be evaluated more than 2^63 times", "write less")


def _grow(tree: Tree, nodes: list[RawNode]) -> int | None:
    """Add the nodes, children first; the number of the last, which is the root."""
    numbers: dict[int, int] = {}
    number = None
    for node in nodes:
        children = [None if child is None else numbers[id(child)] for child in node.children]
        if node.interval is not None:
            number = tree.add_interval(node.key, node.interval, [Part(0, len(node.interval), children[0])])
        else:
            values = [node.values[text] for text in node.texts]
            number = tree.add(node.key, values, children, node.weights)
        numbers[id(node)] = number
    return number


def _envelope(config: Any, faults: list[Fault]) -> Mapping[str, Any]:
    config = unwrapped(config, Path("search"), faults)
    if not isinstance(config, Mapping):
        faults.append(Fault("search", f"{shown(config)} is not a mapping", "write a mapping with `root`"))
        return {}
    config = entries(config, Path("search"), faults)
    if config is None:
        return {"root": None}
    if "root" not in config and "key" in config:
        faults.append(Fault("search", "a node where its envelope should be", "write it under `root`"))
        return {"root": config}
    envelope = {word: config[word] for word in _WORDS if word in config}
    faults += [_unknown(name, config, envelope) for name in config if name not in _WORDS]
    if "root" not in envelope:
        faults.append(Fault("search", "no `root`", "write the tree under `root`; null is a tree of nothing"))
    return envelope


def _unknown(name: Any, config: Mapping[Any, Any], envelope: dict[str, Any]) -> Fault:
    """Return the fault of an unknown word; read a near miss as the word that was meant."""
    if name == "_target_":
        return target_fault(Path("search"))
    word = nearest(name, [word for word in _WORDS if word not in envelope])
    if word is not None:
        envelope[word] = config[name]
    hint = f"write `{word}`" if word else f"the words are {', '.join(_WORDS)}"
    return Fault(str(Path(step(name))), "unknown word", hint)


def _common(found: Any, faults: list[Fault]) -> dict[str, Value]:
    path = Path("common")
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        faults.append(Fault("common", f"{shown(found)} is not a mapping", "write a mapping of key to value"))
        return {}
    common: dict[str, Value] = {}
    first_by_bare: dict[str, str] = {}
    for key, value in (entries(found, path, faults) or {}).items():
        found_faults = [*key_faults(key, path), *value_faults(value, path / step(key))]
        if not found_faults and bare(key) in first_by_bare:
            found_faults = [Fault(str(path / key), f"sets the same as `{first_by_bare[bare(key)]}`")]
        if not found_faults:
            common[key] = plain(value)
            first_by_bare[bare(key)] = key
        faults += found_faults
    return common


def _check_unique(found: Any, faults: list[Fault]) -> bool:
    if not isinstance(found, bool):
        faults.append(Fault("check_unique", f"{shown(found)} is not a boolean", "write true or false"))
    return found is not False


def _repetitions(found: Any, faults: list[Fault]) -> int:
    if type(found) is int and found >= 1:
        return found
    faults.append(Fault("repetitions", f"{shown(found)} is not a positive integer", "write 1 or more"))
    return 1
