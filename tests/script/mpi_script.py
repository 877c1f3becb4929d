"""A training script that mpirun starts: FOLDER PORT; its agent is made before its process group."""

import json
import os
import sys
from pathlib import Path

import torch.distributed as dist

from dahps_core import DistributedAsynchronousGridSearch
from dahps_core.torch_utils import sync_parameters

FOLDER, PORT = Path(sys.argv[1]), sys.argv[2]
CONFIG = {"root": {"key": "x", "values": [1, 2, 3], "cases": {}, "default": None}}
NAMES = "OMPI_COMM_WORLD_RANK", "PMI_RANK"


def main():
    agent = DistributedAsynchronousGridSearch.from_config(FOLDER / "ledger", CONFIG, heartbeat=0.5, lease=3)
    rank = next(int(os.environ[name]) for name in NAMES if name in os.environ)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{PORT}", rank=rank, world_size=2)
    held = []
    sync_parameters(rank, agent)
    for trial in agent:
        held.append([trial.number, trial.combination["x"]])
        agent.finish_combination(float(trial.combination["x"]))
    (FOLDER / f"held.{rank}").write_text(json.dumps(held))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
