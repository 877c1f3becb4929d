"""`dahps doctor` between two kernels: it tells a lock that holds on one host from one that holds."""

import sys

import pytest

pytestmark = pytest.mark.nfs

WAIT_S = 240


def diagnosis(lab, name):
    """What the doctors of both clients say of a folder of the mount, and the worse of their exit statuses."""
    folder = f"{lab.mount_point}/{name}"
    lab.clients[0].run(["mkdir", folder])
    command = [sys.executable, "-m", "dahps_core", "doctor", folder, "--together", "2", "--seconds", "1"]
    doctors = [client.start(command) for client in lab.clients]
    codes = [doctor.wait(WAIT_S) for doctor in doctors]
    return max(codes), "\n".join(line for doctor in doctors for line in doctor.lines)


def test_a_ledger_may_live_on_a_storage_whose_locks_hold(lab):
    code, told = diagnosis(lab, "honest")
    assert "This storage is safe for a ledger." in told
    assert "on 2 hosts" in told
    assert code == 0


def test_locks_that_hold_in_one_kernel_only_are_found_out(lab_without_shared_locks):
    code, told = diagnosis(lab_without_shared_locks, "lying")
    assert "FAILED  a lock excludes all others" in told
    assert "This storage is safe for a ledger." not in told
    assert code == 1
