"""Judging the checks of writes and of SQLite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dahps_core.doctor.costs import median
from dahps_core.doctor.findings import FAILED, OK, SLOW, Finding, error_in, seconds

#: A durable write that takes longer than this, in seconds, is reported.
SLOW_SYNC_S = 0.02
#: The same of a transaction: slower ones serve less than 200 workers with trials of a minute.
SLOW_TRANSACTION_S = 0.15
#: Of each trial: its claim and its end.
TRANSACTIONS_PER_TRIAL = 2


def costing(report: Any, insertions: Sequence[Any]) -> Iterator[Finding]:
    """Judge what durability costs, and how many workers that serves."""
    if not report.get("syncs"):
        yield Finding(
            "syncing", "a durable write (4 KiB)", FAILED, error_in([report]) or "nothing was reported"
        )
        return
    yield _timing("syncing", "a durable write (4 KiB)", report["syncs"], SLOW_SYNC_S)
    if times := _transactions(report, insertions):
        cost_s = median(times)
        rate = 1 / cost_s
        workers = int(60 * rate / TRANSACTIONS_PER_TRIAL)
        estimate = f"; about {rate:,.2g} claims/s" if rate < 10 else f"; about {rate:,.0f} claims/s"
        serves = f", enough for {_workers(rate)}"
        yield _timing(
            "transacting",
            "a transaction of SQLite",
            times,
            SLOW_TRANSACTION_S,
            estimate + serves,
            {"claims_per_s": rate, "workers": workers},
        )


def _workers(rate: float) -> str:
    minute = int(60 * rate / TRANSACTIONS_PER_TRIAL)
    if minute >= 10:
        return f"{minute:,} workers with trials of a minute"
    return f"{int(3600 * rate / TRANSACTIONS_PER_TRIAL):,} workers with trials of an hour"


def _transactions(report: Any, insertions: Sequence[Any]) -> list[float]:
    times: list[float] = report["transactions"]
    writers = [insertion for insertion in insertions if insertion.get("mine")]
    if times and not report["rows"] and writers:
        # Too slow to try it alone: of those who queued, the last one waited for all.
        return [max(writer["longest_s"] for writer in writers) / len(writers)]
    return times


def _timing(
    name: str,
    title: str,
    times: Sequence[float],
    slow_s: float,
    estimate: str = "",
    more: Mapping[str, float] | None = None,
) -> Finding:
    ordered = sorted(times)
    p50, p99, longest = median(ordered), ordered[int(0.99 * (len(ordered) - 1))], ordered[-1]
    seen = f"p50 {seconds(p50)}, p99 {seconds(p99)}, longest {seconds(longest)} ({len(ordered):,} times)"
    numbers = {"p50_s": p50, "p99_s": p99, "longest_s": longest, **(more or {})}
    return Finding(name, title, SLOW if p50 > slow_s else OK, seen + estimate, numbers)


def inserting(reports: Mapping[str, Sequence[Any]]) -> Finding:
    """Judge whether SQLite kept everything that was written concurrently."""
    title = "all write to one database"
    cost, verified = reports["costing"][0], reports["verifying"][0]
    if error := error_in([cost, *reports["inserting"], verified]):
        return Finding("inserting", title, FAILED, error)
    if not cost.get("transactions"):
        return Finding("inserting", title, FAILED, "not tried, since no lock could be taken")
    mine = [report["mine"] for report in reports["inserting"]]
    expected, rows = cost["rows"] + sum(mine), verified["rows"]
    numbers = {"expected": expected, "found": rows}
    by = f"{sum(mine):,} transactions of {sum(map(bool, mine))} processes"
    if verified["integrity"] != "ok":
        return Finding(
            "inserting", title, FAILED, f"{by}; the file is damaged: {verified['integrity']}", numbers
        )
    if rows != expected:
        return Finding("inserting", title, FAILED, f"{rows:,} of {expected:,} rows exist", numbers)
    longest = seconds(max(report["longest_s"] for report in reports["inserting"]))
    return Finding(
        "inserting", title, OK, f"{by}, none lost, the file is sound; longest wait {longest}", numbers
    )
