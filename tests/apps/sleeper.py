"""An app whose trials last as long as a seeded heavy-tailed draw says, and write down when they ran."""

import json
import os
import random
import time

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path=None)
def main(config: DictConfig) -> float:
    started = time.monotonic()
    lasts_s = config.get("lasts_s") or lengths_s(config.seed, int(config.x) + 1)[-1]
    time.sleep(lasts_s)
    run = {
        "started": started,
        "ended": time.monotonic(),
        "lasts_s": lasts_s,
        "job": os.environ.get("SLURM_JOB_ID"),
    }
    with open(config.record, "a") as record:  # one small write to a file opened for appending: atomic
        record.write(json.dumps(run) + "\n")
    return lasts_s


def lengths_s(seed: int, count: int) -> list[float]:
    """The lengths of the first trials, in seconds: most are short, a few take the whole time."""
    draws = random.Random(seed)
    return [min(20.0, 0.7 * draws.paretovariate(1.2)) for _ in range(count)]


if __name__ == "__main__":
    main()
