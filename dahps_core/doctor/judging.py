"""From what the processes found to a verdict: pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dahps_core.doctor.findings import FAILED, OK, Examination, Finding
from dahps_core.doctor.judging_costs import costing, inserting
from dahps_core.doctor.judging_files import creating, seeing
from dahps_core.doctor.judging_locks import counting, excluding, releasing

#: What a ledger with locks of another kind (locking=folder) can do without.
BYTE_RANGE_LOCKS = {"excluding", "releasing", "waking", "counting", "inserting"}


@dataclass(frozen=True)
class Diagnosis:
    """The findings, and what follows.

    Attributes:
        examination: What they rest on.
        findings: In the order of the checks.
        locking: Which locks a ledger may use here: "fcntl", "folder", or None if there may be no ledger.
    """

    examination: Examination
    findings: Sequence[Finding]
    locking: str | None

    @property
    def is_well(self) -> bool:
        """Whether a ledger may live here without further ado."""
        return self.locking == "fcntl"

    def titles(self, outcome: str) -> list[str]:
        """Return the titles of the findings with this outcome."""
        return [finding.title for finding in self.findings if finding.outcome == outcome]


def judge(examination: Examination) -> Diagnosis:
    """Return the verdict."""
    findings = list(_findings(examination))
    failed = {finding.name for finding in findings if finding.outcome == FAILED}
    # A database that went wrong although locks held has another fault, which other locks do not fix.
    locks_failed = failed & (BYTE_RANGE_LOCKS - {"inserting"})
    locking = None if failed - BYTE_RANGE_LOCKS or (failed and not locks_failed) else "folder"
    return Diagnosis(examination, findings, locking if failed else "fcntl")


def _findings(examination: Examination) -> Iterator[Finding]:
    reports = examination.reports
    exclusion = excluding(examination)
    yield exclusion
    if exclusion.outcome == OK:
        yield from releasing(reports["excluding"])
    yield counting(reports["counting"], reports["summing"][0])
    yield creating(reports["creating"], reports["owning"][0])
    yield from seeing(reports["seeing"])
    yield from costing(reports["costing"][0], reports["inserting"])
    yield inserting(reports)
