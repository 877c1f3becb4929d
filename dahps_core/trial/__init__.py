"""The trial as its own code sees it: number, reports, checkpoints, metric."""
