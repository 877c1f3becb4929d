"""An app that all ranks of a job run together: an all-reduce proves that they have met."""

import os
import signal
from pathlib import Path

import hydra
import torch.distributed
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="ranks")
def main(config: DictConfig):
    rank = int(os.environ["RANK"])
    torch.distributed.init_process_group("gloo")
    total = torch.tensor([float(config.x * 10**rank)])
    torch.distributed.all_reduce(total)
    told = Path(config.folder) / f"{config.number}.{config.attempt}.{rank}"
    told.write_text(f"{os.getppid()} {HydraConfig.get().output_subdir}")
    if config.behaviour == "hang once" and (config.number, config.attempt) == (0, 1):
        while True:
            signal.pause()
    if config.behaviour == "fail" and rank == 1:
        raise ValueError(f"x is {config.x}")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return total.item()


if __name__ == "__main__":
    main()
