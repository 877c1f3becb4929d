"""Distributed asynchronous hyperparameter search over nested conditional spaces, with one SQLite ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dahps_core.trial.resolver import register_when_imported

if TYPE_CHECKING:
    from dahps_core.errors import DahpsError, SearchExhausted
    from dahps_core.ledger import Ledger, Search
    from dahps_core.model.combination import Combination
    from dahps_core.script import (
        DistributedAsynchronousGridSearch,
        DistributedAsynchronousHyperBand,
        DistributedAsynchronousRandomSearch,
    )
    from dahps_core.space import SearchSpace
    from dahps_core.trial.current import Trial, current_trial

__all__ = [
    "Combination",
    "DahpsError",
    "DistributedAsynchronousGridSearch",
    "DistributedAsynchronousHyperBand",
    "DistributedAsynchronousRandomSearch",
    "Ledger",
    "Search",
    "SearchExhausted",
    "SearchSpace",
    "Trial",
    "current_trial",
]

register_when_imported()

_HOMES = {
    "Combination": "model.combination",
    "DahpsError": "errors",
    "DistributedAsynchronousGridSearch": "script",
    "DistributedAsynchronousHyperBand": "script",
    "DistributedAsynchronousRandomSearch": "script",
    "Ledger": "ledger",
    "Search": "ledger",
    "SearchExhausted": "errors",
    "SearchSpace": "space",
    "Trial": "trial.current",
    "current_trial": "trial.current",
}


def __getattr__(name: str) -> Any:
    # Loaded when used: every Hydra app imports this package at its start, few of them sweep.
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
