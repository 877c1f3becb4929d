"""HyperBand from a script: the current trial tells how far it is to be trained."""

import pytest

from dahps_core import DistributedAsynchronousHyperBand, DistributedAsynchronousRandomSearch, SearchExhausted
from dahps_core.errors import ConfigurationError
from dahps_core.ledger.repair.check import violations
from dahps_core.strategies.brackets import Brackets

CONFIG = {"root": {"key": "x", "values": list(range(12)), "default": None}}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


def test_each_trial_goes_on_from_its_checkpoint_with_more_epochs(tmp_path):
    search = DistributedAsynchronousHyperBand.from_config(
        tmp_path, CONFIG, epoch_schedule=[1, 3, 9], brackets=1
    )
    epochs = {}
    for trial in search:
        begun = (trial.checkpoint_dir / "epoch").read_text() if trial.attempt > 1 else "0"
        assert int(begun) == epochs.get(trial.number, 0)
        assert trial.resource == [1, 3, 9][trial.level]
        epochs[trial.number] = trial.resource
        (trial.checkpoint_dir / "epoch").write_text(str(trial.resource))
        search.finish_combination(trial.combination["x"])
    assert len(epochs) == 12
    assert set(epochs.values()) == {1, 3, 9}
    assert search.combination is None
    assert list(violations(tmp_path)) == []
    again = DistributedAsynchronousHyperBand.from_config(tmp_path, CONFIG, max_resource=9, brackets=1)
    with pytest.raises(SearchExhausted, match="the best at the highest level, 9, is trial"), again.trial():
        pass


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (DistributedAsynchronousHyperBand, {}, "^max_resource: max_resource is not set"),
        (DistributedAsynchronousHyperBand, {"epoch_schedule": [3, 1]}, "^epoch_schedule: .* increasing"),
        (DistributedAsynchronousRandomSearch, {"levels": Brackets.of(max_resource=9)}, "has no levels"),
    ],
)
def test_mistakes_are_told(tmp_path, kind, options, words):
    with pytest.raises(ConfigurationError, match=words):
        kind.from_config(tmp_path, CONFIG, **options)
