"""Which way imports run; see each rule's reason."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dahps_core

CORE = Path(dahps_core.__file__).parent

#: From the bottom up: a room imports only from itself and from those before it. `.` is the package itself.
ORDER = [
    "text",
    "errors",
    "model",
    "environment",
    "space",
    "strategies",
    "ledger.sqlite",
    "ledger.folder",
    "ledger.views",
    "ledger.claiming",
    "ledger",
    "ledger.repair",
    "checkpoints",
    "trial",
    ".",
    "process",
    "ranks",
    "worker",
    "script",
    "torch_utils",
    "report",
    "dashboard",
    "doctor",
    "cli",
    "__main__",
]

NEVER = [
    # pattern, forbidden, why
    (
        "**/*.py",
        {"hydra", "omegaconf", "hydra_plugins"},
        "the core serves scripts that use none of them (`resolver` waits for their import of it)",
    ),
    ("[!l]*/**/*.py", {"sqlite3"}, "only the ledger knows SQL"),
    ("*.py", {"sqlite3"}, "only the ledger knows SQL"),
    ("report/*.py", {"optuna"}, "the report needs Plotly alone"),
    ("dashboard/*.py", {"pickle"}, "the dashboard asks the ledger"),
    ("ranks/*.py", {"pickle"}, "ranks speak JSON"),
    ("script/*.py", {"pickle"}, "scripts speak JSON"),
    ("strategies/*.py", {"time", "random", "secrets", "os"}, "a strategy is a pure function"),
    ("space/*.py", {"os", "pathlib", "io", "logging"}, "the space does no I/O"),
    ("model/*.py", {"os", "pathlib", "io"}, "records do no I/O"),
]

#: For annotations alone: what is passed in knows what it is passed to.
TYPES_ALONE = {("torch_utils", "script")}


def imported(path):
    """The modules that a file imports, each `from` with the name behind it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top(module):
    return module.partition(".")[0]


def room_of(path):
    """The folder of a module, or for the few at the top the module itself."""
    inside = path.relative_to(CORE)
    if len(inside.parts) == 1:
        return "." if inside.stem == "__init__" else inside.stem
    return ".".join(inside.parts[:-1])


def room_of_name(name):
    """The room that an imported name of the core comes from."""
    parts = name.split(".")[1:]
    while parts and not (CORE.joinpath(*parts).is_dir() or CORE.joinpath(*parts).with_suffix(".py").exists()):
        parts.pop()
    path = CORE.joinpath(*parts)
    return room_of(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))


@pytest.mark.parametrize(("pattern", "forbidden", "why"), NEVER)
def test_what_may_not_be_imported(pattern, forbidden, why):
    files = list(CORE.glob(pattern))
    assert files, pattern
    violations = [
        f"{path.relative_to(CORE)} imports {name}: {why}"
        for path in files
        for name in imported(path)
        if top(name) in forbidden
    ]
    assert not violations


def test_torch_is_imported_by_what_serves_it_alone():
    importing = [path.name for path in CORE.glob("**/*.py") if "torch" in map(top, imported(path))]
    assert set(importing) <= {"checkpoints.py", "torch_utils.py"}


def test_torch_is_not_imported_before_it_is_used():
    code = "import sys, dahps_core.trial.current, dahps_core.worker; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_every_module_has_a_place_in_the_order():
    assert {room_of(path) for path in CORE.glob("**/*.py")} == set(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_imports_run_from_the_top_down(room):
    above = set(ORDER[ORDER.index(room) + 1 :])
    paths = [path for path in CORE.glob("**/*.py") if room_of(path) == room]
    violations = [
        f"{path.relative_to(CORE)} imports {name}"
        for path in paths
        for name in imported(path)
        if top(name) == "dahps_core" and room_of_name(name) in above and not is_allowed(room, name)
    ]
    assert not violations


def is_allowed(room, name):
    """Whether an import is for types, or one of the face's, which loads what is used when it is used."""
    return room == "." or (room, room_of_name(name)) in TYPES_ALONE | {("script", "torch_utils")}
