"""Trials as rows: what is known of each, and a column for each key of the spaces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from dahps_core.errors import from_extra
from dahps_core.model.combination import Value
from dahps_core.model.records import TrialRecord
from dahps_core.space import SearchSpace

if TYPE_CHECKING:
    import pandas as pd

#: What is known of a trial, before the columns of its keys and after them.
BEFORE = ("number", "state", "metric", "resource", "repetition", "attempts")
AFTER = ("level", "metrics", "result", "worker", "configs", "started_at", "ended_at", "output_dir", "error")


class TrialTable:
    """The columns of a ledger's trials; a key that has the name of another column is `combination.KEY`.

    Args:
        spaces: What was ever searched in the ledger.
        configs_of: Which of the kept configs the trials of a multirun are made of; None: unknown.

    Attributes:
        keys: Column -> the key of its values.
        columns: All of them, in order.
    """

    def __init__(
        self, spaces: Iterable[SearchSpace], configs_of: Callable[[str], int | None] = lambda run: None
    ) -> None:
        self._configs_of = cache(configs_of)
        keys = dict.fromkeys(key for space in spaces for _, key, _ in space.levels())
        taken = {*BEFORE, "combination", *AFTER}
        self.keys = {f"combination.{key}" if key in taken else key: key for key in keys}
        self.columns = (*BEFORE, "combination", *self.keys, *AFTER)

    def row(self, trial: TrialRecord) -> dict[str, Value]:
        """Return one trial's row; a key that its branch does not have is absent, which differs from None."""
        values = trial.combination
        configs = None if trial.run is None else self._configs_of(trial.run)
        by_key = {column: values[key] for column, key in self.keys.items() if key in values}
        return row(trial, configs) | by_key

    def frame(self, trials: Iterable[TrialRecord]) -> pd.DataFrame:
        """See `Ledger.to_frame`."""
        with from_extra("frames"):
            import pandas as pd
        columns = [name for name in self.columns if name != "combination"]
        return pd.DataFrame.from_records(list(map(self.row, trials)), columns=columns).set_index("number")


def row(trial: TrialRecord, configs: int | None = None) -> dict[str, Value]:
    """Return a trial with its combination in one; times are seconds since the epoch."""
    values = vars(trial) | {
        "configs": configs,
        "combination": dict(trial.combination),
        "state": trial.state.value,
        "metrics": {str(level): metric for level, metric in trial.metrics.items()},
    }
    return {column: values[column] for column in (*BEFORE, "combination", *AFTER)}


def strict(value: Any) -> Any:
    """Replace NaN and infinities, which JSON lacks, with strings that parsers of numbers understand."""
    if isinstance(value, dict):
        return {key: strict(element) for key, element in value.items()}
    if isinstance(value, list):
        return [strict(element) for element in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
