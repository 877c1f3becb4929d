"""The records of a search (combinations, trials, claims, endings); independent of storage and strategies."""
