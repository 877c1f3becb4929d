"""Whether a ledger may live on a storage: found out by real processes, on one host or on several."""

from dahps_core.doctor.doctor import Options, diagnose
from dahps_core.doctor.judging import Diagnosis

__all__ = ["Diagnosis", "Options", "diagnose"]
