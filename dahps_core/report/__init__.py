"""What a search has found so far, as one page that needs no network."""

from dahps_core.report.page import write_report

__all__ = ["write_report"]
