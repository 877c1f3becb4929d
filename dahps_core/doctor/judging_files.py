"""Judging the checks of names and of visibility."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dahps_core.doctor.creation import KINDS
from dahps_core.doctor.findings import FAILED, OK, SLOW, Finding, error_in, seconds
from dahps_core.doctor.seeing import LONGEST_DELAY_S

#: The time between two heartbeats of a worker: slower visibility is reported.
SLOW_DELAY_S = 15.0


def creating(reports: Sequence[Any], owning: Any) -> Finding:
    """Judge whether each name had exactly one winner."""
    title = "one winner for each new name"
    if error := error_in([*reports, owning]):
        return Finding("creating", title, FAILED, error)
    rounds = max(report["rounds"] for report in reports)
    faults = []
    for kind in KINDS:
        winners: dict[int, list[int]] = {}
        for number, report in enumerate(reports):
            for name in report["won"][kind]:
                winners.setdefault(name, []).append(number)
        owners = dict(owning["owners"]) if kind == "rename" else {}
        bad = sum(
            len(winners.get(name, ())) != 1 or (kind == "rename" and owners.get(name) != winners[name][0])
            for name in range(rounds)
        )
        if bad:
            faults.append(f"{bad} of {rounds} names by {kind} did not have exactly one")
    by = f"{rounds} names each by open, mkdir and rename, {len(reports)} processes racing"
    return Finding("creating", title, FAILED if faults else OK, "; ".join(faults) or by)


def seeing(reports: Sequence[Any]) -> Iterator[Finding]:
    """Judge what readers saw of concurrent writes, and how late."""
    names = {
        "replacing": "a replaced file is whole",
        "opening": "what was closed is seen when opened",
        "content": "new content is seen soon",
        "touching": "a touched file's time is seen soon",
    }
    if error := error_in(reports):
        yield from (Finding(name, title, FAILED, error) for name, title in names.items())
        return
    readers = [report for report in reports if "reads" in report]
    pause_s = max((report["pause_s"] for report in reports if "pause_s" in report), default=0.0)
    reads, broken, stale, repeated = (
        sum(reader[key] for reader in readers) for key in ("reads", "broken", "stale", "repeated")
    )
    again = f", {repeated} repeated because the server had removed the file (ESTALE)" if repeated else ""
    yield Finding(
        "replacing",
        names["replacing"],
        FAILED if broken else OK,
        f"{broken:,} of {reads + broken:,} reads were broken" if broken else f"{reads:,} reads{again}",
    )
    yield Finding(
        "opening",
        names["opening"],
        FAILED if stale else OK,
        f"{stale:,} of {reads:,} reads were stale" if stale else f"{reads:,} reads",
    )
    yield _delay("content", names["content"], readers, "content_s", "backwards", pause_s)
    yield _delay("touching", names["touching"], readers, "stamp_s", "stamp_backwards", pause_s)


def _delay(
    name: str, title: str, readers: Sequence[Any], longest: str, backwards: str, pause_s: float
) -> Finding:
    if steps := sum(reader[backwards] for reader in readers):
        return Finding(name, title, FAILED, f"readers saw an older state after a newer one {steps} times")
    if not all(reader["has_ended"] for reader in readers):
        return Finding(name, title, FAILED, f"not within {LONGEST_DELAY_S:g} s, and the lease is 120 s")
    # A reader cannot see more often what is new than there is something new.
    delay_s = max(0.0, max(reader[longest] for reader in readers) - pause_s)
    outcome = SLOW if delay_s > SLOW_DELAY_S else OK
    return Finding(
        name, title, outcome, f"within {seconds(delay_s)}, never backwards", {"longest_s": delay_s}
    )
