"""A worker: it claims trials, evaluates them and records how they ended."""

from dahps_core.worker.options import WorkerOptions
from dahps_core.worker.worker import Job, Worker

__all__ = ["Job", "Worker", "WorkerOptions"]
