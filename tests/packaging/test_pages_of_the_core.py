"""The page of the core names files that are there, and all rooms."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "dahps_core/README.md").read_text()


def test_every_path_on_the_page_is_there():
    paths = set(re.findall(r"`((?:dahps_core|hydra_plugins|tests)/[\w/.]+)`", PAGE))
    assert len(paths) > 30
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_every_room_has_its_line():
    rooms = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "dahps_core").glob("**/__init__.py")} - {
        "dahps_core"
    }
    assert rooms <= set(re.findall(r"`(dahps_core/[\w/]+)`", PAGE))
