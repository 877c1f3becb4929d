"""What an app that does not sweep pays for the plugin."""

import subprocess
import sys

HEAVY = ["torch", "sqlite3", "rich", "submitit", "multiprocessing"]
#: The core registers its resolver, and loads the rest when it is used.
LIGHT = ["dahps_core", "dahps_core.trial", "dahps_core.trial.resolver"]

DISCOVER = f"""
import sys
import hydra.plugins.sweeper, hydra.plugins.launcher, hydra.core.config_store, omegaconf
before = set(sys.modules)
import hydra_plugins.dahps_sweeper.dahps_sweeper
brought = set(sys.modules) - before
core = {{name for name in brought if name.partition(".")[0] == "dahps_core"}}
print(*sorted({{name.partition(".")[0] for name in brought}} & set({HEAVY!r}) | core - set({LIGHT!r})))
"""

REGISTERED = """
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
print(*(sweeper.__name__ for sweeper in Plugins.instance().discover(Sweeper)))
"""


def printed(code):
    return subprocess.check_output([sys.executable, "-c", code], text=True).split()


def test_discovery_imports_nothing_that_only_a_sweep_needs():
    assert printed(DISCOVER) == []


def test_hydra_discovers_the_sweeper():
    assert printed(REGISTERED).count("DahpsSweeper") == 1


CONVERTED = """
import hydra.core.config_store, hydra.plugins.sweeper, hydra.types
from omegaconf import OmegaConf
convert, converted = OmegaConf.structured, []
OmegaConf.structured = staticmethod(lambda *conf, **more: (converted.append(conf), convert(*conf, **more))[1])
import hydra_plugins.dahps_sweeper.dahps_sweeper
print(len(converted))
from hydra.core.config_store import ConfigStore
for name in ("dahps", "strategy/random", "strategy/grid", "strategy/hyperband", "strategy/asha"):
    first, second = (ConfigStore.instance().load(f"hydra/sweeper/{name}.yaml").node for _ in range(2))
    assert first == second and first is not second
print(len(converted))
"""


def test_no_option_is_converted_before_it_is_read():
    assert printed(CONVERTED) == ["0", "5"]
