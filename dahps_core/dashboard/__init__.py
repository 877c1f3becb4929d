"""A ledger as Optuna's tools see one: its dashboard, its plots, its data frames, while the search runs."""

from dahps_core.dashboard.storage import LedgerStorage

__all__ = ["LedgerStorage"]
