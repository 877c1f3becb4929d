"""The records of a search (combinations, trials, claims, endings); they know no storage and no strategy."""
