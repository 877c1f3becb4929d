"""Reading the words of an interval, and weights, in the config of a search space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from dahps_core.errors import Fault
from dahps_core.space.entries import entries
from dahps_core.space.interval import Interval, Number, bounds_fault, equally_spaced, step_fault
from dahps_core.space.path import Path, shown, value_step
from dahps_core.space.values import named_value

MOST_POINTS = 1000


class IntervalReader:
    """Reads the words of one interval; what is wrong with them goes to `faults`.

    Args:
        words: Those of `WORDS` that are there -> their contents, and the place of each.
    """

    WORDS = ("interval", "log", "step", "points")

    def __init__(self, words: Mapping[str, tuple[Any, Path]], faults: list[Fault]) -> None:
        self._words = words
        self._faults = faults
        self._n_faults = len(faults)
        self._log = self._boolean("log")
        self._bounds = self._read_bounds()
        if "step" in words:
            for other in {"points", "log"} & words.keys():
                if other == "points" or self._log:
                    self._fault(other, f"`{other}` beside `step`", "keep one of them")

    def interval(self) -> Interval | None:
        """Return the interval; None if it has faults."""
        step = self._read_step() if "step" in self._words else None
        if self._bounds is None or len(self._faults) > self._n_faults:
            return None
        return Interval(*self._bounds, self._log, step)

    def points(self) -> list[Number] | None:
        """Return the values at equal distances, if they are asked for and without faults."""
        if "points" not in self._words:
            return None
        found, _ = self._words["points"]
        if type(found) is not int or not 2 <= found <= MOST_POINTS:
            self._fault("points", f"{shown(found)} is not a number from 2 to {MOST_POINTS:,}", "write 5")
        elif self._bounds is not None and len(self._faults) == self._n_faults:
            values = list(equally_spaced(*self._bounds, found, log=self._log))
            if len(set(values)) == found:
                return values
            self._fault("points", f"the interval has no {found} different values", "write less")
        return None

    def _read_bounds(self) -> tuple[Number, Number] | None:
        found, path = self._words["interval"]
        if not isinstance(found, list | tuple) or len(found) != 2 or not all(map(is_number, found)):
            hint = "write two numbers, such as [0.1, 1.0]; two integers mean integers"
            self._faults.append(Fault(str(path), f"{shown(found)} is not [low, high]", hint))
            return None
        low, high = found
        if what := bounds_fault(low, high, log=self._log):
            self._faults.append(Fault(str(path), what, "write [low, high]"))
            return None
        return low, high

    def _read_step(self) -> Number | None:
        found, _ = self._words["step"]
        if not is_number(found):
            self._fault("step", f"{shown(found)} is not a number", "write the distance of two values")
        elif self._bounds is not None and (what := step_fault(*self._bounds, found)):
            self._fault("step", what, "write a positive number, smaller than the interval")
        else:
            return found
        return None

    def _boolean(self, word: str) -> bool:
        found, _ = self._words.get(word, (False, None))
        if not isinstance(found, bool):
            self._fault(word, f"{shown(found)} is not a boolean", "write true or false")
        return found is True

    def _fault(self, word: str, what: str, hint: str) -> None:
        self._faults.append(Fault(str(self._words[word][1]), what, hint))


def is_number(found: object) -> TypeGuard[Number]:
    """Return whether a value is a finite number."""
    return type(found) in (int, float) and math.isfinite(found)  # type: ignore[arg-type]


def read_weights(found: Any, path: Path, texts: Sequence[str], faults: list[Fault]) -> list[float] | None:
    """Return the weight of each value.

    Args:
        found: A list, a weight for each value; or a mapping of values to weights, 1 for all others.
        path: Where it is.
        texts: The canonical texts of the values, in grid order.
        faults: Where the faults go.
    """
    n_faults = len(faults)
    if isinstance(found, Mapping):
        weights = dict.fromkeys(texts, 1.0)
        for name, weight in (entries(found, path, faults) or {}).items():
            text = named_value(name, weights)
            if text is None:
                faults.append(Fault(str(path), f"{shown(name)} is not in `values`", "name values"))
            elif _is_weight(weight, path / value_step(name), faults):
                weights[text] = weight
        listed = [weights[text] for text in texts]
    elif isinstance(found, list | tuple) and len(found) == len(texts):
        listed = [one for index, one in enumerate(found) if _is_weight(one, path.element(index), faults)]
    else:
        hint = f"write a list of {len(texts)} numbers, or a mapping of value to number"
        faults.append(Fault(str(path), f"{shown(found)} is not a weight for each value", hint))
    if len(faults) == n_faults and not any(listed):
        faults.append(Fault(str(path), "no value has a weight above 0", "write a positive number"))
    return None if len(faults) > n_faults else [float(one) for one in listed]


def _is_weight(found: Any, path: Path, faults: list[Fault]) -> bool:
    if is_number(found) and 0 <= found <= 1e9:
        return True
    faults.append(Fault(str(path), f"{shown(found)} is not a weight", "write a number from 0 to 10^9"))
    return False
