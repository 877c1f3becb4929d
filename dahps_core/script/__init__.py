"""Searching from an ordinary training script, on any scheduler or none: the script itself is the worker."""

from dahps_core.script.asynchronous import (
    DistributedAsynchronousGridSearch,
    DistributedAsynchronousHyperBand,
    DistributedAsynchronousRandomSearch,
)
from dahps_core.script.search import ScriptSearch

__all__ = [
    "DistributedAsynchronousGridSearch",
    "DistributedAsynchronousHyperBand",
    "DistributedAsynchronousRandomSearch",
    "ScriptSearch",
]
