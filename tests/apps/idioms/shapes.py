"""Training functions in all the shapes that people give them; the first argument names one."""

import functools
import sys
import threading

import hydra
from omegaconf import OmegaConf

from train import record

OmegaConf.register_new_resolver("twice", lambda x: 2 * x)
LOCK = threading.Lock()


def timed(function):
    @functools.wraps(function)
    def wrapper(cfg):
        return function(cfg)

    return wrapper


@timed
def decorated(cfg):
    return record(cfg)


def scaled(factor, cfg):
    return factor * record(cfg)


class Trainer:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, cfg):
        return self.factor * record(cfg)

    def fit(self, cfg):
        return self.factor * record(cfg)


def locked(cfg):
    with LOCK:
        return record(cfg)


SHAPES = {
    "decorated": decorated,
    "lambda": lambda cfg: record(cfg),
    "partial": functools.update_wrapper(functools.partial(scaled, 2), scaled),
    "object": Trainer(2),
    "method": Trainer(2).fit,
    "locked": locked,
}

if __name__ == "__main__":
    hydra.main(version_base="1.3", config_path="conf", config_name="config")(SHAPES[sys.argv.pop(1)])()
