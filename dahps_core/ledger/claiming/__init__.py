"""Which trial a worker gets next, and how an attempt ends: the transactions of workers."""
