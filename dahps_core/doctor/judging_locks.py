"""Judging the checks of byte-range locks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dahps_core.doctor.findings import FAILED, OK, SLOW, Examination, Finding, error_in, seconds
from dahps_core.doctor.locks import RELEASE_LIMIT_S, WAKE_LIMIT_S

#: A waiter should be served as soon as the lock is free; beyond this, in seconds, turns are lost.
SLOW_WAKE_S = 1.0


def excluding(examination: Examination) -> Finding:
    """Judge whether all others were refused."""
    title = "a lock excludes all others"
    reports = examination.reports["excluding"]
    if error := error_in(reports):
        return Finding("excluding", title, FAILED, error)
    held = reports[0]["held"]
    if held != "granted":
        return Finding("excluding", title, FAILED, f"none could be taken: {held}")
    tried = {number: report["tried"] for number, report in enumerate(reports) if number}
    granted = [number for number, answer in tried.items() if answer == "granted"]
    if granted:
        there = sum(map(examination.is_elsewhere, granted))
        seen = f"while one process held it, {len(granted)} of {len(tried)} others got it too"
        where = "" if examination.is_on_one_host else f" ({there} of them on other hosts)"
        return Finding("excluding", title, FAILED, seen + where)
    if strange := [answer for answer in tried.values() if answer != "refused"]:
        return Finding("excluding", title, FAILED, f"while one process held it, others got: {strange[0]}")
    there = sum(map(examination.is_elsewhere, tried))
    seen = f"while one process held it, {len(tried)} others were refused"
    return Finding("excluding", title, OK, seen + (f", {there} of them on other hosts" if there else ""))


def releasing(reports: Sequence[Any]) -> Iterator[Finding]:
    """Judge what became of the lock of a killed holder, and of the processes that waited for it."""
    waiters = [report for report in reports[1:] if "woke" in report]
    asleep = [report for report in waiters if report["woke"] != "granted"]
    kept = [report for report in asleep if report.get("freed") != "granted"]
    times = [report.get("freed_s", report.get("woke_s", 0.0)) for report in waiters]
    title = "a lock ends with its holder"
    if kept:
        limit_s = WAKE_LIMIT_S + RELEASE_LIMIT_S
        yield Finding("releasing", title, FAILED, f"still held {limit_s:g} s after its holder was killed")
        return
    yield Finding("releasing", title, OK, f"others had it {seconds(max(times))} after its holder was killed")
    title = "a free lock wakes its waiters"
    numbers = {"longest_s": max(times)}
    if asleep:
        seen = f"{len(asleep)} of {len(waiters)} were not woken within {WAKE_LIMIT_S:g} s: no fair turns"
        yield Finding("waking", title, SLOW, seen, numbers)
        return
    outcome = SLOW if max(times) > SLOW_WAKE_S else OK
    yield Finding("waking", title, outcome, f"{len(waiters)} waiters within {seconds(max(times))}", numbers)


def counting(reports: Sequence[Any], sum_: Any) -> Finding:
    """Judge whether the sum is right."""
    title = "counting under a lock"
    if error := error_in([*reports, sum_]):
        return Finding("counting", title, FAILED, error)
    mine = [report["mine"] for report in reports]
    total, found = sum(mine), sum_["sum"]
    by = f"{total:,} increments by {sum(map(bool, mine))} of {len(mine)} processes"
    numbers = {"expected": total, "found": found}
    if not total:
        return Finding("counting", title, FAILED, "no process got the lock", numbers)
    if found != total:
        return Finding("counting", title, FAILED, f"{by} came to {found:,}", numbers)
    return Finding("counting", title, OK, f"{by}, none lost", numbers)
