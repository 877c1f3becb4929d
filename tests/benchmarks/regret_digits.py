"""The digits example's residual networks, each trained once: their accuracies after each epoch, as JSON.

`python regret_digits.py` trains them, by a search of the example app itself, which goes on where it was when
it is started again. The simulations of `regret.py` read the file.
"""

import json
import os
import subprocess
import sys

from regret_tasks import DIGITS

from dahps_core import Ledger

EXAMPLE = DIGITS.parents[2] / "example_app"
LEDGER = DIGITS.with_name("ledger")
EPOCHS = 9


def make_table() -> None:
    """Make the table, where it is missing."""
    if DIGITS.exists():
        return
    print(f"training the networks of the digits example, for {DIGITS}", flush=True)
    options = {
        "ledger": LEDGER,
        "strategy.name": "grid",
        "only": "{experiment_type: baseline, model_type: resnet}",
        "max_trials": "null",
        "n_workers": os.cpu_count(),
        "keep_checkpoints": 0,
    }
    command = [sys.executable, "train.py", "-m", "hydra/launcher=submitit_local", f"epochs={EPOCHS}"]
    command += [f"hydra.sweep.dir={DIGITS.with_name('multirun')}"]
    command += [f"hydra.sweeper.{name}={value}" for name, value in options.items()]
    subprocess.run(command, check=True, cwd=EXAMPLE, stdout=subprocess.DEVNULL)
    DIGITS.write_text(json.dumps(accuracies()))


def accuracies() -> list[list[float]]:
    """Of each network, in the order of the tree."""
    with Ledger.open(LEDGER) as ledger:
        histories = [ledger.history(trial.number) for trial in ledger.trials()]
    # An attempt that went on from a checkpoint may report an epoch again.
    return [[*{epoch: accuracy for _, epoch, accuracy in history}.values()] for history in histories]


if __name__ == "__main__":
    make_table()
    print(f"the best has {max(curve[-1] for curve in json.loads(DIGITS.read_text())):.4f}")
