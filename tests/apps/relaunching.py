"""A trial that starts its own program again for rank 1, as Lightning does, and notes what each rank has."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_original_cwd, to_absolute_path
from omegaconf import OmegaConf

from dahps_core import current_trial


def command():
    """As `_hydra_subprocess_cmd` of lightning.fabric makes it."""
    import __main__

    spec = __main__.__spec__
    program = [sys.executable, *(["-m", spec.name] if spec else [to_absolute_path(sys.argv[0])])]
    folder = HydraConfig.get().run.dir
    return [*program, *sys.argv[1:], f'hydra.run.dir="{folder}"', "hydra.job.name=train_ddp_process_1"]


@hydra.main(version_base="1.3", config_path="conf", config_name="relaunching")
def main(config):
    trial = current_trial()
    rank = int(os.environ.get("LOCAL_RANK", 0))
    facts = {
        "trial": [trial.number, trial.attempt, dict(trial.combination), str(trial.checkpoint_dir)],
        "config": OmegaConf.to_container(config, resolve=True),
        "output_dir": HydraConfig.get().runtime.output_dir,
        "cwd": os.getcwd(),
    }
    Path(config.notes, f"{trial.number}.{rank}.json").write_text(json.dumps(facts))
    logging.getLogger("app").info("rank %d", rank)
    trial.report(rank, 0)
    if rank == 0:
        if config.edits:
            Path(config.edits).write_text("lr: 100\n")
        environ = {**os.environ, "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
        subprocess.run(command(), env=environ, cwd=get_original_cwd(), check=True, timeout=300)
    return config.x


if __name__ == "__main__":
    main()
