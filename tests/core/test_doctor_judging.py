"""The verdict is a pure function: faults that no test storage has are made up."""

import copy

import pytest

from dahps_core.doctor.findings import Examination, seconds
from dahps_core.doctor.judging import judge
from dahps_core.doctor.telling import verdict

RACE = {"won": {"open": [], "mkdir": [], "rename": []}, "rounds": 2}
SIGHT = {
    "reads": 100,
    "broken": 0,
    "stale": 0,
    "repeated": 0,
    "backwards": 0,
    "stamp_backwards": 0,
    "has_ended": True,
    "content_s": 0.1,
    "stamp_s": 0.1,
}
HEALTHY = {
    "excluding": [
        {"held": "granted"},
        {"tried": "refused", "woke": "granted", "woke_s": 0.001},
        {"tried": "refused"},
        {"tried": "refused", "woke": "granted", "woke_s": 0.002},
    ],
    "counting": [{"mine": 10}, {"mine": 20}, {"mine": 0}, {"mine": 5}],
    "summing": [{"sum": 35}, None, None, None],
    "creating": [
        RACE | {"won": {"open": [0], "mkdir": [], "rename": [1]}},
        RACE,
        RACE | {"won": {"open": [1], "mkdir": [0, 1], "rename": []}},
        RACE | {"won": {"open": [], "mkdir": [], "rename": [0]}},
    ],
    "owning": [{"owners": [[0, 3], [1, 0]]}, None, None, None],
    "seeing": [{"versions": 9, "pause_s": 0.1}, SIGHT, {"versions": 9, "pause_s": 0.1}, SIGHT],
    "costing": [{"syncs": [0.001] * 9, "transactions": [0.002] * 9, "rows": 9}, None, None, None],
    "inserting": [{"mine": 5, "longest_s": 0.01} for _ in range(4)],
    "verifying": [{"rows": 29, "integrity": "ok"}, None, None, None],
}
TWO_HOSTS = ({"name": "n1", "kernel": "a"}, {"name": "n2", "kernel": "b"})


def diagnosis_with(*changes, hosts=TWO_HOSTS):
    """The diagnosis of a healthy storage, but for some reports: (check, process, the report's changes)."""
    reports = copy.deepcopy(HEALTHY)
    for check, process, change in changes:
        reports[check][process].update(change)
    return judge(Examination("folder", hosts, 2, reports))


def outcome(diagnosis, name):
    (found,) = [finding for finding in diagnosis.findings if finding.name == name]
    return found.outcome


def test_a_healthy_storage():
    diagnosis = diagnosis_with()
    assert {finding.outcome for finding in diagnosis.findings} == {"ok"}
    assert verdict(diagnosis) == "This storage is safe for a ledger."
    assert diagnosis.is_well


LOCK_FAULTS = {
    "granted to two": ("excluding", ("excluding", 3, {"tried": "granted"})),
    "not granted at all": ("excluding", ("excluding", 0, {"held": "refused"})),
    "unknown to the storage": ("excluding", ("excluding", 2, {"tried": "No locks available"})),
    "kept by the dead": ("releasing", ("excluding", 1, {"woke": None, "freed": "refused"})),
    "increments lost": ("counting", ("summing", 0, {"sum": 34})),
    "locks that fail": ("counting", ("counting", 1, {"error": "No locks available"})),
}


@pytest.mark.parametrize("fault", LOCK_FAULTS)
def test_where_locks_fail_a_ledger_needs_others(fault):
    name, change = LOCK_FAULTS[fault]
    diagnosis = diagnosis_with(change)
    assert outcome(diagnosis, name) == "FAILED"
    assert verdict(diagnosis) == (
        "This storage is safe for a ledger only with hydra.sweeper.locking=folder "
        "(its locks do not hold between hosts)."
    )
    assert not diagnosis.is_well


def test_where_locks_fail_sqlite_may_fail_with_them():
    diagnosis = diagnosis_with(("summing", 0, {"sum": 34}), ("verifying", 0, {"rows": 1}))
    assert diagnosis.locking == "folder"


OTHER_FAULTS = {
    "two winners": ("creating", ("creating", 1, {"won": {"open": [0], "mkdir": [], "rename": []}})),
    "no winner": ("creating", ("creating", 2, {"won": {"open": [1], "mkdir": [1], "rename": []}})),
    "another's folder": ("creating", ("owning", 0, {"owners": [[0, 3], [1, 2]]})),
    "a mixture of two versions": ("replacing", ("seeing", 1, {"broken": 1})),
    "what was closed is not seen": ("opening", ("seeing", 3, {"stale": 1})),
    "never seen": ("content", ("seeing", 3, {"has_ended": False})),
    "content goes backwards": ("content", ("seeing", 1, {"backwards": 1})),
    "time goes backwards": ("touching", ("seeing", 1, {"stamp_backwards": 2})),
    "no durable writes": ("syncing", ("costing", 0, {"syncs": [], "error": "Input/output error"})),
    "rows lost although locks held": ("inserting", ("verifying", 0, {"rows": 28})),
    "a damaged file": ("inserting", ("verifying", 0, {"integrity": "row 3 missing from index"})),
}


@pytest.mark.parametrize("fault", OTHER_FAULTS)
def test_where_anything_else_fails_no_ledger_may_live(fault):
    name, change = OTHER_FAULTS[fault]
    diagnosis = diagnosis_with(change)
    assert outcome(diagnosis, name) == "FAILED"
    assert verdict(diagnosis).startswith("This storage is not safe for a ledger: these checks failed: ")
    assert not diagnosis.is_well


SLOWNESS = {
    "waiters that sleep on": (
        "waking",
        ("excluding", 1, {"woke": None, "freed": "granted", "freed_s": 10.1}),
    ),
    "waiters that wake late": ("waking", ("excluding", 1, {"woke_s": 5.0})),
    "late news": ("content", ("seeing", 1, {"content_s": 40.0})),
    "late signs of life": ("touching", ("seeing", 1, {"stamp_s": 40.0})),
    "slow writes": ("syncing", ("costing", 0, {"syncs": [0.05]})),
    "slow transactions": ("transacting", ("costing", 0, {"transactions": [0.5], "rows": 9})),
}


@pytest.mark.parametrize("fault", SLOWNESS)
def test_slowness_is_told_and_tolerated(fault):
    name, change = SLOWNESS[fault]
    diagnosis = diagnosis_with(change)
    assert outcome(diagnosis, name) == "slow"
    assert diagnosis.is_well


def test_a_writers_own_pauses_are_no_delay():
    diagnosis = diagnosis_with(("seeing", 1, {"content_s": 40.0}), ("seeing", 0, {"pause_s": 39.9}))
    assert outcome(diagnosis, "content") == "ok"


def test_how_many_workers_a_storage_serves():
    (cost,) = [finding for finding in diagnosis_with().findings if finding.name == "transacting"]
    assert cost.numbers["claims_per_s"] == pytest.approx(500)
    assert cost.numbers["workers"] == 15_000


def test_two_names_of_one_kernel_are_one_host():
    names = ({"name": "n1", "kernel": "a"}, {"name": "n2", "kernel": "a"})
    diagnosis = diagnosis_with(("excluding", 1, {"tried": "granted"}), hosts=names)
    assert diagnosis.examination.is_on_one_host
    assert verdict(diagnosis).endswith("(its locks do not hold).")


@pytest.mark.parametrize(
    ("time_s", "shown"),
    [(0.0, "0.1 ms"), (0.0042, "4.2 ms"), (0.0421, "42 ms"), (0.96, "1.0 s"), (12.34, "12.3 s")],
)
def test_durations(time_s, shown):
    assert seconds(time_s) == shown
