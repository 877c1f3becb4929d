"""What a training function returned, made into what the ledger keeps: settled once, here."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from numbers import Real
from typing import Any

from dahps_core.combination import Value
from dahps_core.errors import MetricError


def read_result(returned: Any, metric: str | None) -> tuple[Value, float | None]:
    """The result to keep and the objective in it.

    Args:
        returned: A number, a mapping of names to numbers, or None. A scalar of NumPy or PyTorch is a
            number; NaN and infinities are numbers.
        metric: The objective's name; needed where a mapping is returned.

    Returns:
        The result as JSON values, and the objective, None where None was returned.

    Raises:
        MetricError: If anything else was returned, or the mapping has no such name.
    """
    if returned is None:
        return None, None
    if isinstance(returned, Mapping):
        result = {str(name): _number(value, f"the metric {str(name)!r}") for name, value in returned.items()}
        return result, result[_objective(result, metric)]
    number = _number(returned, "the training function's result")
    return number, number


def _objective(result: Mapping[str, float], metric: str | None) -> str:
    names = ", ".join(map(repr, result)) or "no names at all"
    if metric is None:
        raise MetricError(
            f"the training function returned a mapping ({names}), and nothing says which is the objective",
            mend="Name it with hydra.sweeper.metric",
        )
    if metric not in result:
        raise MetricError(
            f"the training function's result has no {metric!r}, which is the objective; it has {names}",
            mend="Return it, or name another with hydra.sweeper.metric",
        )
    return metric


def _number(value: Any, what: str) -> float:
    if not isinstance(value, Real):
        item = getattr(value, "item", None)  # NumPy's and PyTorch's way out of an array of one element
        with suppress(RuntimeError, ValueError):  # an array of several elements: refused below, as what it is
            value = item() if callable(item) else value
    if not isinstance(value, Real):
        raise MetricError(
            f"{what} is {_shortened(value)} of type {type(value).__name__}, not a number",
            mend="Return a number, or a mapping of names to numbers",
        )
    return float(value)


def _shortened(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
