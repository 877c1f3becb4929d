import sys
from pathlib import Path

import pytest
import torch

APP = Path(__file__).parents[2] / "example_app"
sys.path.insert(0, str(APP))


@pytest.fixture
def app() -> Path:
    return APP


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
