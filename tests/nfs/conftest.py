"""An NFS server and two clients with kernels of their own, for the tests that need them."""

import functools
from contextlib import ExitStack, contextmanager

import pytest

from tests.nfs.lab import Lab, check_preconditions
from tests.nfs.machine import LabError
from tests.support import skip_unless_required

pytest.register_assert_rewrite("tests.nfs.ledger_in_guests")

from tests.nfs.ledger_in_guests import LedgerInGuests  # noqa: E402 - it has assertions to be rewritten


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "nfs: boots an NFS server and two clients; needs their programs, and root"
    )


@functools.cache
def why_no_lab() -> str | None:
    """None where a lab can be built."""
    try:
        check_preconditions()
    except LabError as error:
        return str(error)
    return None


@pytest.fixture(scope="session")
def lab_can_be_built():
    if reason := why_no_lab():
        skip_unless_required("NFS", reason)


@contextmanager
def booted(folder, **options):
    """A lab; where its guests do not boot, a skip."""
    with ExitStack() as stack:
        try:
            lab = stack.enter_context(Lab(folder, **options))
        except LabError as error:
            skip_unless_required("NFS", str(error))
        yield lab


@pytest.fixture(scope="session")
def shared_lab(lab_can_be_built, tmp_path_factory):
    with booted(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(shared_lab):
    """The lab with all its guests up and idle, whatever the test before left."""
    shared_lab.restore()
    return shared_lab


@pytest.fixture
def ledger(lab, request):
    """A ledger of the test's own, used from both clients."""
    return LedgerInGuests(lab, request.node.name)


@pytest.fixture(scope="session")
def lab_without_shared_locks(lab_can_be_built, tmp_path_factory):
    with booted(tmp_path_factory.mktemp("lab"), locks="local") as lab:
        yield lab


@pytest.fixture
def ledger_without_shared_locks(lab_without_shared_locks, request):
    """The same on a mount whose locks hold in one client only."""
    lab_without_shared_locks.restore()
    return LedgerInGuests(lab_without_shared_locks, request.node.name)
