"""Processes and signals: a trial in a process of its own, and how it and its worker shut down."""
