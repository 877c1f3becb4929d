import pytest
from ledger_support import grid

from dahps_core.ledger import Ledger


@pytest.fixture
def folder(tmp_path):
    """A path with all that a careless URI or SQL string stumbles over."""
    return tmp_path / "a b" / 'it\'s "so" 100%?#&ü=🙂'


@pytest.fixture
def ledger(folder):
    with Ledger.join(folder, grid("a", "b", "c", "d")) as ledger:
        yield ledger
