"""An app that writes down each of its runs and behaves as its config says: what the tests search."""

import os
import signal
import sys
import time
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf


@hydra.main(version_base="1.3", config_path="conf", config_name="recorder")
def main(config: DictConfig):
    values = OmegaConf.to_container(config, resolve=True)
    line = f"{values['number']} {values['attempt']} {os.getpid()} {values['x']} {values['y']}\n"
    with open(values["record"], "a") as record:  # one small write to a file opened for appending: atomic
        record.write(line)
    if values["wait_for"]:
        while not Path(values["wait_for"]).exists():
            time.sleep(0.02)
    return behave(values)


def behave(values):
    behaviour = "normal" if "MENDED" in os.environ else values["behaviour"]
    if behaviour == "raise" or (behaviour == "raise once" and values["attempt"] == 1):
        raise ValueError(f"x is {values['x']}")
    if behaviour == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "hang":
        signal.pause()
    if behaviour == "exit":
        sys.exit(3)
    if behaviour == "_exit":
        os._exit(4)
    if behaviour == "mapping":
        return {"loss": values["x"], "accuracy": 1 - values["x"]}
    if behaviour == "by repetition":
        return values["x"][values["repetition"]]
    return {"nothing": None, "undefined": float("nan"), "text": "good"}.get(behaviour, values["x"])


if __name__ == "__main__":
    main()
