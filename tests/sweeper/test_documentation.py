"""The README's account of the options is that of the real thing, on both lines of Hydra."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

README = (Path(__file__).parents[2] / "README.md").read_text()


def section(title):
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


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
    (kept,) = re.findall(r"```yaml\n(# @package hydra.sweeper\n.*?)```", README, re.DOTALL)
    assert kept.strip() == printed(app).strip()


def test_each_option_is_explained_once(app):
    options = yaml.safe_load(printed(app))
    strategy = set(options.pop("strategy"))
    told = first_column(section("Options"))
    assert sorted(told) == sorted({*options, "strategy.name"} - {"_target_", "_recursive_"})
    assert sorted(first_column(section("HyperBand"))) == sorted(strategy - {"name"})
