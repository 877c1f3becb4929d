"""Which way imports run; see each rule's reason."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dahps_core

CORE = Path(dahps_core.__file__).parent

#: From the bottom up: a module imports only from those before it.
ORDER = [
    "errors",
    "combination",
    "space",
    "trial",
    "strategies",
    "ledger",
    "doctor",
    "ancestors",
    "launchers",
    "batch",
    "ranks",
    "claims",
    "worker",
    "script",
    "report",
    "dashboard",
    "cli",
]

NEVER = [
    # pattern, forbidden, why
    (
        "**/*.py",
        {"hydra", "omegaconf", "hydra_plugins"},
        "the core serves scripts that use none of them (`resolver` waits for their import of it)",
    ),
    ("[!l]*.py", {"sqlite3"}, "only the ledger knows SQL"),
    ("report/*.py", {"sqlite3", "optuna"}, "the report asks the ledger, and needs Plotly alone"),
    ("dashboard/*.py", {"sqlite3", "pickle"}, "the dashboard asks the ledger"),
    ("doctor/*.py", {"sqlite3"}, "only the ledger knows SQL"),
    ("ranks/*.py", {"sqlite3", "pickle"}, "ranks speak JSON, and leave the ledger to the worker"),
    ("script/*.py", {"sqlite3", "pickle"}, "scripts leave the ledger to the ledger, and speak JSON"),
    ("strategies/*.py", {"sqlite3", "time", "random", "secrets", "os"}, "a strategy is a pure function"),
    ("strategies/*.py", {"dahps_core.ledger"}, "a strategy is told what the ledger holds"),
    ("space/*.py", {"os", "pathlib", "io", "sqlite3", "logging"}, "the space does no I/O"),
    ("combination.py", {"os", "pathlib", "io"}, "a combination does no I/O"),
    ("overrides.py", {"os", "pathlib", "io"}, "overrides do no I/O"),
]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def top(module):
    return module.partition(".")[0]


@pytest.mark.parametrize(("pattern", "forbidden", "why"), NEVER)
def test_what_may_not_be_imported(pattern, forbidden, why):
    files = list(CORE.glob(pattern))
    assert files, pattern
    breaches = [
        f"{path.relative_to(CORE)} imports {name}: {why}"
        for path in files
        for name in imported(path)
        if name in forbidden or top(name) in forbidden
    ]
    assert not breaches


def test_torch_is_imported_by_what_serves_it_alone():
    importing = [path.name for path in CORE.glob("**/*.py") if "torch" in map(top, imported(path))]
    assert set(importing) <= {"checkpoints.py", "torch_utils.py"}


def test_torch_is_not_imported_before_it_is_used():
    code = "import sys, dahps_core.trial.current, dahps_core.worker.worker; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.mark.parametrize("module", ORDER)
def test_imports_run_from_the_top_down(module):
    above = {f"dahps_core.{name}" for name in ORDER[ORDER.index(module) + 1 :]}
    paths = [CORE / f"{module}.py", *(CORE / module).glob("*.py")]
    found = [name for path in paths if path.exists() for name in imported(path)]
    assert found
    assert not [name for name in found if name in above]
