"""The ledger: one SQLite file on shared storage that records which worker evaluates which trial, and
its result.
"""

from dahps_core.ledger.folder.ledger_folder import FILE_NAME, Locking
from dahps_core.ledger.ledger import PATIENCE_S, Ledger
from dahps_core.ledger.views.trial_rows import WorkerRecord
from dahps_core.strategies.search import DIRECTIONS, Search

__all__ = ["DIRECTIONS", "FILE_NAME", "PATIENCE_S", "Ledger", "Locking", "Search", "WorkerRecord"]
