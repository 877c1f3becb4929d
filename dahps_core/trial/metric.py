"""What a training function returned, made into what the ledger keeps: settled once, here."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from numbers import Real
from typing import Any

from dahps_core.errors import MetricError
from dahps_core.model.combination import Value
from dahps_core.space.path import Path
from dahps_core.space.values import plain, value_faults

#: How many names of a mapping a message lists.
_NAMES_SHOWN = 10

_HINT = "Return a number, or a mapping of names to numbers"
_NONE_HINT = (
    "End the training function with its metric, such as `return accuracy`; in a script, write "
    "finish_combination(accuracy)"
)


def read_result(returned: Any, metric: str | None) -> tuple[Value, float | None]:
    """Return the result to keep and the objective in it.

    Args:
        returned: A number, or a mapping of names to numbers. A scalar of NumPy or PyTorch is a number;
            NaN and infinities are numbers.
        metric: The objective's name; needed where a mapping is returned.

    Returns:
        The result as JSON values, and the objective.

    Raises:
        MetricError: If anything else was returned, None too, or the mapping has no such name.
    """
    what = "the trial's result"
    if returned is None:
        raise MetricError("the result is None, and a search needs a metric", hint=_NONE_HINT)
    with _readable(what, returned):
        entries = [(key, value) for key, value in returned.items()] if isinstance(returned, Mapping) else None
    if entries is None:
        number = read_number(returned, what)
        return number, number
    result: dict[str, Value] = {}
    for key, value in entries:
        name = _name(key)
        if name in result:
            raise MetricError(f"two names of {what} read {_shortened(name)}", hint="Name them apart")
        result[name] = read_number(value, f"the metric {_shortened(name)}")
    objective = result[_objective(result, metric)]
    assert isinstance(objective, float)
    return result, objective


def read_anything(returned: Any, metric: str | None) -> tuple[Value, float | None]:
    """Read a result as `read_result` does, but accept one without an objective if JSON can hold it."""
    try:
        return read_result(returned, metric)
    except MetricError:
        is_storable = not value_faults(returned, Path("result"))
        return (plain(returned) if is_storable else None), None


def _name(key: Any) -> str:
    with _readable("a metric's name", key):
        # Exactly a string: one of a derived class would bring its own methods along.
        return str.__str__(str(key))


def _objective(result: Mapping[str, Value], metric: str | None) -> str:
    names = ", ".join(_shortened(name) for name in islice(result, _NAMES_SHOWN)) or "no names at all"
    if len(result) > _NAMES_SHOWN:
        names += f" and {len(result) - _NAMES_SHOWN} more"
    if metric is None:
        raise MetricError(
            f"the trial's result is a mapping ({names}), and the objective is not named",
            hint="Name it with the option metric (hydra.sweeper.metric)",
        )
    if metric not in result:
        raise MetricError(
            f"the trial's result has no {metric!r}, which is the objective; it has {names}",
            hint="Return it, or name another with the option metric (hydra.sweeper.metric)",
        )
    return metric


def read_number(value: Any, what: str, hint: str = _HINT) -> float:
    """Return a number of whatever class as a float; NaN and infinities are kept.

    Args:
        value: Also a scalar of NumPy or PyTorch.
        what: Its name in messages.
        hint: How to fix it if it is none.

    Raises:
        MetricError: It is no number.
    """
    with _readable(what, value, hint):
        is_missing = _is_masked(value)
        if not isinstance(value, Real) and not is_missing and not _is_time(value):
            item = getattr(value, "item", None)  # NumPy's and PyTorch's way out of an array of one element
            with suppress(RuntimeError, ValueError):  # an array of several: refused below, as what it is
                value = item() if callable(item) else value
        if isinstance(value, Real) and not _is_time(value):
            return _as_float(value)
    if is_missing:
        raise MetricError(f"{what} is masked: its value is missing", hint=hint)
    raise MetricError(
        f"{what} is {_shortened(value)} of type {type(value).__name__}, not a number", hint=hint
    )


def _is_masked(value: object) -> bool:
    """Return whether NumPy says that there is no value; below its mask may be any number."""
    # Looked up, not imported: where no array was made, none is masked.
    masked = sys.modules.get("numpy.ma")
    return masked is not None and isinstance(value, masked.MaskedArray) and bool(masked.is_masked(value))


def _is_time(value: object) -> bool:
    """Return whether a value is a date or a duration of NumPy, which may convert to a count of ticks."""
    return getattr(getattr(value, "dtype", None), "kind", None) in ("M", "m")


def _as_float(value: Real) -> float:
    number = float(value)
    if math.isinf(number) and value != number:
        raise OverflowError("too large for a float")  # NumPy's extended floats say nothing of it
    return number


@contextmanager
def _readable(what: str, value: object, hint: str = _HINT) -> Iterator[None]:
    """Report whatever the methods of a returned object raise: it may be of any class."""
    try:
        yield
    except Exception as error:
        raise MetricError(
            f"{what}, of type {type(value).__name__}, cannot be read ({_described(error)})", hint=hint
        ) from error


def _shortened(value: object) -> str:
    try:
        return _cut(repr(value), 60)
    except Exception as error:  # a tensor's, say, on a GPU that an earlier error has made unusable
        return f"something that cannot be shown ({_described(error)})"


def _described(error: Exception) -> str:
    return _cut("".join(traceback.format_exception_only(error)).strip(), 300)  # which never fails itself


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
