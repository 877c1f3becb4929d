import sys
from pathlib import Path

# What the ledger's tests share is shared by those on a faulty storage, too.
sys.path.insert(0, str(Path(__file__).parent.parent / "ledger"))
