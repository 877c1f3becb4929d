"""What the pages say of options is what the real thing says, on both lines of Hydra; links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SWEEPER = (ROOT / "hydra_plugins/dahps_sweeper/README.md").read_text()
STRATEGIES = (ROOT / "dahps_core/strategies/README.md").read_text()
PAGES = [
    ROOT / "README.md",
    *(page for top in ("dahps_core", "hydra_plugins") for page in (ROOT / top).rglob("*.md")),
]


def section(page, title):
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_column(text):
    rows = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]


def printed(app):
    command = [
        sys.executable,
        str(app.script),
        "hydra/sweeper=dahps",
        "--cfg",
        "hydra",
        "-p",
        "hydra.sweeper",
    ]
    return subprocess.run(command, cwd=app.folder, capture_output=True, text=True, check=True).stdout


def test_the_defaults_are_those_that_hydra_prints(app):
    (kept,) = re.findall(r"```yaml\n(# @package hydra.sweeper\n.*?)```", SWEEPER, re.DOTALL)
    assert kept.strip() == printed(app).strip()


def test_each_option_is_explained_once(app):
    options = yaml.safe_load(printed(app))
    strategy = set(options.pop("strategy"))
    told = first_column(section(SWEEPER, "Options"))
    assert sorted(told) == sorted({*options, "strategy.name"} - {"_target_", "_recursive_"})
    assert sorted(first_column(STRATEGIES)) == sorted(strategy - {"name"})


def anchors(page):
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page):
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link
