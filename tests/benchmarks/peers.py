"""Claims a second of DAHPS and of its peers under the same stress, side by side in one run.

At each width so many processes draw empty trials from one grid of 8,000 combinations for a few seconds, as
fast as they can, on one folder. Without replacement where the peer can; Optuna's random sampler, which can
not, is there as the least that an ask costs it. The peers are installed once into an environment of their
own in `.benchmarks`.

Prints a table: claims a second, their ratio to DAHPS's, p50 and p99 of a claim (telling a result and asking
for more), combinations drawn twice, and workers that ended with an error.
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ENVIRONMENT = Path(__file__).parents[2] / ".benchmarks" / "venv"
STRESS = Path(__file__).with_name("peer_stress.py")

OPTUNA = ("optuna==5.0.0", "sqlalchemy==2.1.9")
# The torch that the Makefile installs, whose CPU build is taken where there is a choice, and its torchvision.
NEPS = ("neural-pipeline-search==0.17.0", "torch==2.13.0", "torchvision==0.28.0")

#: What the table calls a peer, its name in `peer_stress.py`, and what it needs installed.
PEERS = (
    ("DAHPS", "dahps", ()),
    ("Optuna journal, grid", "optuna-journal", OPTUNA),
    ("Optuna journal, random", "optuna-journal-random", OPTUNA),
    ("Optuna SQLite, grid", "optuna-sqlite", OPTUNA),
    ("NePS, grid", "neps", NEPS),
)
WIDTHS = (1, 4, 16, 64)
SECONDS = 4.0
LONGEST_RUN_S = 150.0

ROW = "{:>7}  {:<22}  {:>8}  {:>7}  {:>9}  {:>9}  {:>10}  {}"


def python_with(requirements: tuple[str, ...], environment: Path = ENVIRONMENT) -> str | None:
    """The Python to run a peer with, which is installed when it is missing; None if it cannot be."""
    if not requirements:
        return sys.executable
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
    if not is_installed(python, requirements):
        print(f"installing {' '.join(requirements)}", flush=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        if subprocess.run(install, check=False).returncode:
            return None
    return str(python)


def is_installed(python: Path, requirements: tuple[str, ...]) -> bool:
    expected = dict(requirement.split("==") for requirement in requirements)
    # A version may have a local part, such as 2.13.0+cpu.
    look = "import sys, importlib.metadata as m; print(*[m.version(n).split('+')[0] for n in sys.argv[1:]])"
    found = subprocess.run([python, "-c", look, *expected], check=False, capture_output=True, text=True)
    return found.stdout.split() == list(expected.values())


def figures_of(python: str, name: str, n_workers: int) -> dict | str:
    """What `peer_stress.py` printed, or why it printed nothing."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, STRESS, name, str(n_workers), str(SECONDS), folder]
        try:
            run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONGEST_RUN_S)
        except subprocess.TimeoutExpired:
            return f"no answer within {LONGEST_RUN_S:.0f} s"
        except subprocess.CalledProcessError as error:
            return (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[-1]
    return json.loads(run.stdout)


def row(n_workers: int, label: str, figures: dict | str, dahps_rate: float) -> str:
    if isinstance(figures, str):
        return ROW.format(n_workers, label, *[""] * 5, figures)
    rate = rate_of(figures)
    errors = {end: n for end, n in figures["ends"].items() if end not in ("time", "space")}
    return ROW.format(
        n_workers,
        label,
        f"{rate:.0f}",
        f"{rate / dahps_rate:.2f}" if dahps_rate else "",
        f"{1000 * figures['p50_s']:.1f} ms",
        f"{1000 * figures['p99_s']:.0f} ms",
        figures["duplicates"],
        ", ".join(f"{n} {end}" for end, n in errors.items()),
    )


def rate_of(figures: dict | str) -> float:
    if isinstance(figures, str) or not figures["seconds"]:
        return 0.0
    return figures["trials"] / figures["seconds"]


def main() -> int:
    pythons = {name: python_with(requirements) for _, name, requirements in PEERS}
    print(ROW.format("workers", "", "claims/s", ": DAHPS", "p50", "p99", "duplicates", "errors"))
    for n_workers in WIDTHS:
        dahps_rate = 0.0
        for label, name, _ in PEERS:
            python = pythons[name]
            figures = figures_of(python, name, n_workers) if python else "cannot be installed"
            dahps_rate = dahps_rate or rate_of(figures)
            print(row(n_workers, label, figures, dahps_rate), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
