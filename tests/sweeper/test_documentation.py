"""What the pages say of options is what the real thing says, on both lines of Hydra; links lead somewhere."""

import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from hydra_plugins.dahps_sweeper.dahps_sweeper import DahpsSweeperConf, StrategyConf

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


def typed(page):
    """The words that a page shows for a command line: in its code between backquotes, and for a console."""
    text = page.read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    commands = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    code = [*re.findall(r"`([^`]+)`", prose), *"".join(commands).replace("\\\n", " ").splitlines()]
    for one in code:
        if "(" not in one:  # Python
            yield from (word for word in shlex.split(one, comments=True) if re.match(r"[\w+~@./]+=", word))


#: Not that on scripts: it shows arguments of Python.
OF_HYDRA = [page for page in PAGES if page.parent.name != "script"]


@pytest.mark.parametrize("page", OF_HYDRA, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_tells_to_type_works_as_typed(page):
    options = {one.name for conf in (DahpsSweeperConf, StrategyConf) for one in fields(conf)}
    for word in typed(page):
        name = word.partition("=")[0].lstrip("+")
        assert name.removeprefix("strategy.") not in options, f"{word}: without hydra.sweeper."
        if "hydra" in name:
            launcher = ["hydra/launcher=submitit_slurm"] if name.startswith("hydra.launcher.") else []
            with initialize_config_dir(str(ROOT / "example_app/conf"), version_base=None):
                compose("config", [*launcher, word], return_hydra_config=True)


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


def test_what_lies_in_a_ledger_s_folder_is_listed(app):
    outcome = app.sweep("x=1,2", "hydra.sweeper.max_time=1000")
    table = (ROOT / "dahps_core/README.md").read_text().partition("## A ledger's folder")[2]
    names = {path.name for path in app.ledger.iterdir()}
    assert {"ledger.db", "heartbeats", "configs", "commands", "runs"} <= names, outcome.output
    assert [name for name in sorted(names) if f"`{name}" not in table] == []
