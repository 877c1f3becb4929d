"""Searching from an ordinary training script, on any scheduler or none: the script itself is the worker."""

from dahps_core.script.search import (
    DistributedAsynchronousGridSearch,
    DistributedAsynchronousRandomSearch,
    ScriptSearch,
)

__all__ = [
    "DistributedAsynchronousGridSearch",
    "DistributedAsynchronousRandomSearch",
    "ScriptSearch",
]
