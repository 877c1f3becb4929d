"""The search space: a nested conditional tree that is counted and indexed, and never enumerated."""

from dahps_core.space.space import SearchSpace

__all__ = ["SearchSpace"]
