"""The wheel, installed in clean environments with either line of Hydra, sweeps."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: The dependencies to install beside the wheel, by the line of Hydra that they bring.
LINES = {
    # All that the wheel asks for; a torch without CUDA, if there is a choice.
    "1.3": ["hydra-core==1.3.*", "hydra-submitit-launcher==1.2.*", "torch==2.13.0"],
    # What a sweep itself needs; the wheel is installed without its dependencies.
    "1.4": ["--pre", "hydra-core==1.4.*", "hydra-submitit-launcher==1.4.*", "click", "rich"],
}

APP = """
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(config):
    return config.x ** 2

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_holds_the_code_its_data_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(ROOT))
        for folder in ("dahps_core", "hydra_plugins")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == expected
    assert "dahps_core/ledger/sqlite/schema.sql" in names
    assert "dahps_core/py.typed" in names
    assert "hydra_plugins/__init__.py" not in names, "it would hide the plugins of other distributions"


@pytest.mark.parametrize("line", LINES)
def test_a_clean_environment_sweeps_from_the_wheel(wheel, line, tmp_path):
    python = tmp_path / "environment" / "bin" / "python"
    venv.create(tmp_path / "environment", with_pip=True)
    # Modules are compiled when they are imported: few of PyTorch's, or none.
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*install, *LINES[line]], check=True)
    subprocess.run([*install, *(["--no-deps"] if line == "1.4" else []), wheel], check=True)
    (tmp_path / "app.py").write_text(APP)
    options = ["hydra/sweeper=dahps", "hydra/launcher=submitit_local", "hydra.sweeper.ledger=ledger"]
    told = subprocess.check_output([python, "app.py", "--info", "plugins"], cwd=tmp_path, text=True)
    assert "DahpsSweeper" in told
    sweep = [python, "app.py", "-m", *options, "+x=3,1,2"]
    output = subprocess.run(sweep, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "metric 1" in output.stdout, output
    status = subprocess.check_output(
        [python.parent / "dahps", "status", tmp_path / "ledger", "--json"], text=True
    )
    assert '"finished": 3' in status
