"""Testing whether a storage is safe for a ledger, by real processes on one host or on several."""

from dahps_core.doctor.doctor import Options, diagnose
from dahps_core.doctor.judging import Diagnosis

__all__ = ["Diagnosis", "Options", "diagnose"]
