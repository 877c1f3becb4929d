"""Lightning's `ddp` strategy in a trial: it starts the program again for its second rank."""

import json

import pytest

from dahps_core import Ledger
from tests.sweeper.conftest import APPS

LAUNCHERS = {
    "basic": [],
    "submitit_local": ["hydra/launcher=submitit_local", "hydra.sweeper.n_workers=1"],
}


@pytest.mark.parametrize("launcher", LAUNCHERS.values(), ids=LAUNCHERS)
def test_both_ranks_train_the_trial_s_values_and_reduce_their_gradients(app, launcher):
    app.script = APPS / "lightning_training.py"
    search = "hydra.sweeper.search={root:{key:+lr,values:[0.1,0.5],default:null}}"
    outcome = app.wait(app.start(search, *launcher), 500)
    assert outcome.code == 0, outcome.output
    with Ledger.open(app.ledger) as ledger:
        trials = list(ledger.trials())
        assert [[step for _, step, _ in ledger.history(number)] for number in (0, 1)] == [[0], [0]]
    assert sorted(trial.combination["+lr"] for trial in trials) == [0.1, 0.5]
    for trial in trials:
        lr = trial.combination["+lr"]
        for rank in 0, 1:
            facts = json.loads((app.folder / f"{trial.number}.{rank}.json").read_text())
            # The mean of the ranks' gradients, 1 and 3.
            assert facts["weight"] == pytest.approx(-2 * lr)
            assert (facts["lr"], facts["combination"]["+lr"], facts["size"]) == (lr, lr, 2)
        assert trial.metric == pytest.approx(-2 * lr)
    assert sorted(path.name for path in (app.folder / "dahps").iterdir()) == [app.ledger.name]
    assert not list(app.folder.glob("outputs")) + list(app.folder.glob("multirun"))
