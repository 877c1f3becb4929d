"""Hydra's own tests for plugins, as it ships them: what a sweeper and a launcher must do together."""

import hydra
import pytest
from hydra import version
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

# Before a test runs: the fixture that restores Hydra's singletons would forget what the first test finds.
Plugins.instance()

#: Hydra 1.3 runs its suites as of version 1.1, and warns of that.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.usefixtures("hydra_restore_singletons", "as_of_1_1"),
]


@pytest.fixture
def as_of_1_1(hydra_restore_singletons):
    """Whatever version another test of this process has asked for."""
    if hydra.__version__ < "1.4":  # which refuses to be asked
        version.setbase("1.1")


DAHPS = "hydra/sweeper=dahps"


def test_the_sweeper_is_found():
    assert "DahpsSweeper" in [plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)]


@pytest.mark.parametrize(("launcher_name", "overrides"), [("basic", [DAHPS])])
class TestLaunching(LauncherTestSuite):
    pass


@pytest.mark.parametrize("overrides", [[DAHPS]])
@pytest.mark.parametrize("launcher_name", ["joblib", "submitit_local"])
class TestLaunchingElsewhere(LauncherTestSuite):
    def test_failure_preserves_task_traceback(self, hydra_sweep_runner, launcher_name, overrides, tmpdir):
        """Where Hydra 1.4 unpickles the error of another process, it is told here, with its causes."""

        def failing(_):  # defined here, it is pickled with its code
            try:
                raise ValueError("the cause")
            except ValueError as cause:
                raise RuntimeError("the failure") from cause

        sweep = hydra_sweep_runner(
            calling_file=None,
            calling_module="hydra.test_utils.a_module",
            task_function=failing,
            config_path="configs",
            config_name="compose.yaml",
            overrides=["hydra/launcher=" + launcher_name, *overrides],
            temp_dir=tmpdir,
        )
        with pytest.raises(CompactHydraException, match="trial #0 failed") as caught, sweep:
            pass
        for words in ("ValueError: the cause", "direct cause", "in failing", "RuntimeError: the failure"):
            assert words in str(caught.value)


@pytest.mark.parametrize(
    ("launcher_name", "overrides"), [("basic", [DAHPS, "hydra.sweeper.max_batch_size=2"])]
)
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, ["-m", DAHPS, "hydra/launcher=basic"])])
class TestIntegration(IntegrationTestSuite):
    pass
