"""What the doctor found out, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dahps_core.doctor.findings import FAILED, SLOW, Examination
from dahps_core.doctor.judging import Diagnosis
from dahps_core.text.plural import counted
from dahps_core.text.printing import pasted


def verdict(diagnosis: Diagnosis) -> str:
    """Put the verdict into words, beginning with a sentence that programs may search for."""
    examination = diagnosis.examination
    if diagnosis.locking == "fcntl":
        return "This storage is safe for a ledger." + (
            " It will be slow, as reported above." if diagnosis.titles(SLOW) else ""
        )
    if diagnosis.locking == "folder":
        between = "" if examination.is_on_one_host else " between hosts"
        only = "only with hydra.sweeper.locking=folder"
        return f"This storage is safe for a ledger {only} (its locks do not hold{between})."
    return (
        f"This storage is not safe for a ledger: these checks failed: {', '.join(diagnosis.titles(FAILED))}."
    )


def limits_of_one_host(examination: Examination) -> str:
    """Explain what a test on one host cannot find out, and how to do it on several."""
    folder = pasted([examination.folder])
    return (
        "All processes were on one host, which cannot show whether locks hold between hosts, nor how soon\n"
        "other hosts see what is written. To find out, run on SLURM:\n"
        f"  srun -N2 dahps doctor {folder}\n"
        "or, on each of two hosts at the same time:\n"
        f"  dahps doctor {folder} --together 2"
    )


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return all of it as JSON values."""
    examination = diagnosis.examination
    return {
        "folder": examination.folder,
        "may_live": diagnosis.is_well,
        "locking": diagnosis.locking,
        "verdict": verdict(diagnosis),
        "between_hosts": not examination.is_on_one_host,
        "hosts": examination.hosts,
        "processes_per_host": examination.per_rank,
        "findings": [{**vars(finding), "numbers": dict(finding.numbers)} for finding in diagnosis.findings],
    }


def lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Return all of it as lines for people."""
    examination = diagnosis.examination
    yield f"{examination.folder}: {_storage(examination.hosts[0])}"
    yield _processes(examination)
    yield from _other_storages(examination)
    yield ""
    width = max(len(finding.title) for finding in diagnosis.findings)
    for finding in diagnosis.findings:
        yield f"  {finding.outcome:6}  {finding.title:{width}}  {finding.seen}"
    first = examination.hosts[0]
    inodes = f", {first['inodes_free']:,} of {first['inodes']:,} inodes" if first["inodes"] else ""
    yield f"  {'free':6}  {_size(first['bytes_free'])} of {_size(first['bytes'])}{inodes}"
    yield f"  {'access':6}  {first['sharing']}"
    yield ""
    yield verdict(diagnosis)
    if diagnosis.is_well and examination.is_on_one_host:
        yield from limits_of_one_host(examination).split("\n")


def _processes(examination: Examination) -> str:
    names = sorted({host["name"] for host in examination.hosts})
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    n_hosts = len({host["kernel"] for host in examination.hosts})
    ranks = f" of {len(examination.hosts)} ranks" if len(examination.hosts) > 1 else ""
    n_processes = len(examination.hosts) * examination.per_rank
    return f"{n_processes} processes{ranks} on {counted(n_hosts, 'host')} ({shown})"


def _other_storages(examination: Examination) -> Iterator[str]:
    first = examination.hosts[0].get("type")
    for host in examination.hosts[1:]:
        if host.get("type") != first:
            yield f"on {host['name']} it is {_storage(host)}"


def _storage(host: Any) -> str:
    return f"{host['type']} ({host['source']} at {host['mount']})" if "type" in host else "of an unknown type"


def _size(n_bytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:,.4g} TiB"
