"""What a script sees of its search: combinations, namespaces, ends; all in real processes."""

import argparse
import json
import logging
import math

import numpy as np
import pytest
import torch

from dahps_core import (
    DistributedAsynchronousGridSearch,
    DistributedAsynchronousRandomSearch,
    Ledger,
    SearchExhausted,
    current_trial,
)
from dahps_core.cli.overview import overview
from dahps_core.errors import (
    ConfigurationError,
    DahpsError,
    LedgerUnavailableError,
    MetricError,
    NotALedgerError,
    SearchChangedError,
    SearchSpaceError,
)
from dahps_core.ledger.folder.run_limits import limits_of
from dahps_core.script.process_end import this_process
from dahps_core.space import SearchSpace
from dahps_core.strategies.by_level import draw_by_level

TREE = {
    "root": {
        "key": "model",
        "values": ["vit", "resnet"],
        "vit": {"key": "model.heads", "values": [2, 3], "default": None},
        "resnet": {"key": "depth", "values": [1, None], "default": None},
    }
}


@pytest.fixture
def search(tmp_path):
    """Makes searches of one ledger in this process, which holds nothing afterwards."""

    def make(config=TREE, kind=DistributedAsynchronousGridSearch, **options):
        return kind.from_config(tmp_path / "ledger", config, **{"heartbeat": 0.2, "lease": 1.5, **options})

    yield make
    process = this_process()
    process.end_quietly(process.judged(KeyboardInterrupt()))
    process.leave()


def drawn(search):
    combinations = []
    for trial in search:
        combinations.append(dict(trial.combination))
        search.finish_combination(0.0)
    return combinations


def trials(tmp_path):
    with Ledger.open(tmp_path / "ledger") as ledger:
        return list(ledger.trials())


def test_grid_search_goes_in_the_order_of_the_tree(search):
    assert drawn(search()) == [dict(one) for one in SearchSpace.from_config(TREE)]


def drawn_by_level(space, seed):
    """All combinations, each where it is first drawn: what was drawn before is drawn again."""
    found = []
    for number in range(space.size):
        tries = (dict(space[draw_by_level(space, seed, number, attempt)]) for attempt in range(100))
        found.append(next(one for one in tries if one not in found))
    return found


def test_random_search_draws_each_combination_once_in_the_order_of_its_seed(search):
    agent = search(kind=DistributedAsynchronousRandomSearch, seed=3)
    found = drawn(agent)
    assert found == drawn_by_level(SearchSpace.from_config(TREE), 3)
    assert sorted(map(str, found)) == sorted(str(dict(one)) for one in SearchSpace.from_config(TREE))


def test_k_is_a_random_subset_in_all_repetitions(search, caplog):
    tree = {**TREE, "repetitions": 2}
    found = drawn(search(tree, kind=DistributedAsynchronousRandomSearch, seed=3, k=2))
    first = drawn_by_level(SearchSpace.from_config(TREE), 3)[:2]
    assert found == [first[0], first[0], first[1], first[1]]
    assert "or the `k` requested" in caplog.text


def test_k_is_the_budget_that_status_tells(search, tmp_path):
    agent = search({**TREE, "repetitions": 2}, k=1, lease=7.5)
    with Ledger.open(tmp_path / "ledger") as ledger:
        known = overview(ledger)
        assert (known["max_trials"], known["left"], known["budget"]) == (2, 2, 2)
        assert limits_of(ledger.folder, known["present"][0]["run"]).lease_s == 7.5
        drawn(agent)
        known = overview(ledger)
        assert (known["left"], known["troubles"]) == (0, [])


def test_one_combination_is_claimed_at_once_and_the_next_when_asked_for(search, tmp_path):
    agent = search()
    trial = agent.current
    assert current_trial() is trial
    assert (trial.number, trial.attempt, trial.repetition) == (0, 1, 0)
    assert agent.combination == trial.combination == SearchSpace.from_config(TREE)[0]
    agent.finish_combination(0.5)
    assert agent.current is None
    assert current_trial().number is None
    assert agent.combination == trial.combination
    assert len(trials(tmp_path)) == 1
    assert agent.get_new_combination() == agent.combination == SearchSpace.from_config(TREE)[1]
    agent.release()
    assert agent.get_new_combination() == SearchSpace.from_config(TREE)[1]
    assert agent.current.attempt == 2


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (1, 1.0),
        (math.nan, math.nan),
        (-math.inf, -math.inf),
        (torch.tensor(0.5), 0.5),
        (torch.tensor([0.25], requires_grad=True), 0.25),
        (np.float32(0.5), 0.5),
        ({"loss": torch.tensor(2.0), "accuracy": 0.25}, 2.0),
    ],
)
def test_what_a_trial_can_be_finished_with(search, tmp_path, metric, expected):
    search(metric="loss").finish_combination(metric)
    (trial,) = trials(tmp_path)
    assert trial.metric == expected or (math.isnan(trial.metric) and math.isnan(expected))


@pytest.mark.parametrize("metric", ["0.5", [1, 2], torch.zeros(2), {"accuracy": 1.0}, None])
def test_what_is_no_metric_leaves_the_trial_in_hand(search, tmp_path, metric):
    agent = search()
    with pytest.raises(MetricError):
        agent.finish_combination(metric)
    agent.finish_combination(0.5)
    assert trials(tmp_path)[0].metric == 0.5


def test_a_namespace_has_an_attribute_for_each_key(search):
    agent = search()
    namespace = agent.to_namespace(agent.combination)
    assert vars(namespace) == {"model": "vit", "model.heads": 2}
    assert getattr(namespace, "model.heads") == 2


def test_a_combination_is_merged_into_the_script_s_own_arguments(search):
    agent = search()
    args = argparse.Namespace(epochs=20, model="the default")
    merged = agent.to_namespace(agent.combination, args)
    assert vars(merged) == {"epochs": 20, "model": "vit", "model.heads": 2}
    assert vars(args) == {"epochs": 20, "model": "the default"}


def test_lists_among_the_arguments_are_a_search_space(search, tmp_path):
    args = argparse.Namespace(lr=[0.1, 0.2], layers=(1, None), epochs=[1, 2], name="a")
    agent = DistributedAsynchronousGridSearch.from_namespace(tmp_path / "ledger", ["layers", "lr"], args, k=3)
    expected = [{"layers": 1, "lr": 0.1}, {"layers": 1, "lr": 0.2}, {"layers": None, "lr": 0.1}]
    namespace = agent.to_namespace(agent.combination)
    assert vars(namespace) == {"lr": 0.1, "layers": 1, "epochs": [1, 2], "name": "a"}
    assert args.lr == [0.1, 0.2]
    assert vars(agent.to_namespace(agent.combination, argparse.Namespace())) == expected[0]
    assert drawn(agent) == expected


def test_an_argument_may_bear_the_name_of_a_value_or_of_a_word(search, tmp_path):
    args = argparse.Namespace(values=["key", "default"], default=["cases", None])
    agent = DistributedAsynchronousGridSearch.from_namespace(tmp_path / "ledger", ["values", "default"], args)
    assert len(drawn(agent)) == 4


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["lr", "leyers"], "the arguments have no 'leyers'. They have lr, epochs"),
        (["epochs"], "the argument 'epochs' is 20, not a list of values"),
        ("lr", "Write ['lr']"),
    ],
)
def test_what_cannot_be_a_search_space_is_named(tmp_path, names, text):
    args = argparse.Namespace(lr=[0.1], epochs=20)
    with pytest.raises(ConfigurationError) as caught:
        DistributedAsynchronousGridSearch.from_namespace(tmp_path / "ledger", names, args)
    assert text in str(caught.value)
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"config": {"root": {"key": "x", "values": []}}}, SearchSpaceError),
        ({"k": 0}, ConfigurationError),
        ({"k": "3"}, ConfigurationError),
        ({"direction": "up"}, ConfigurationError),
        ({"on_change": "exetnd"}, ConfigurationError),
        ({"locking": "flock"}, ConfigurationError),
        ({"lease": 0.1}, ConfigurationError),
        ({"keep_checkpoints": -1}, ConfigurationError),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_anything_is_made(search, tmp_path, options, error):
    with pytest.raises(error):
        search(**options)
    assert not (tmp_path / "ledger").exists()


def test_another_search_is_refused_unless_it_extends_the_ledger(search):
    drawn(search())
    other = {"root": {"key": "model", "values": ["vit"], "default": None}}
    with pytest.raises(SearchChangedError) as caught:
        search(other)
    assert not [entry.path for entry in caught.traceback if entry.path.parent.name == "ledger"]
    assert drawn(search(other, on_change="extend")) == [{"model": "vit"}]


def test_an_exhausted_search_cannot_be_missed(search, caplog):
    agent = search()
    drawn(agent)
    assert agent.combination is None
    assert agent.current is None
    assert "all combinations (or the `k` requested) are drawn" in caplog.text
    assert list(agent) == []
    for use in (lambda: agent.to_namespace(agent.combination), lambda: agent.trial().__enter__()):
        with pytest.raises(SearchExhausted, match="all combinations"):
            use()
    for use in (lambda: agent.finish_combination(1), agent.load_checkpoint, lambda: agent.report(1, 0)):
        with pytest.raises(DahpsError, match="there is no current trial: all combinations"):
            use()
    assert agent.get_new_combination() is None
    assert search().combination is None


def test_a_search_that_was_stopped_says_so(search, tmp_path, caplog):
    agent = search()
    Ledger.open(tmp_path / "ledger").stop()
    agent.finish_combination(1)
    assert agent.get_new_combination() is None
    assert "a person stopped the search" in caplog.text
    assert search().combination is not None, "a later one is another run"


def test_a_search_whose_first_trials_all_fail_says_why(search, caplog):
    agent = search(stop_after_failures=2)
    for _ in range(2):
        with pytest.raises(ValueError, match="no such layer"), agent.trial():
            raise ValueError("no such layer")
    assert agent.get_new_combination() is None
    assert "the first 2 attempts all failed; trial 0: Traceback" in caplog.text
    assert "no such layer" in caplog.text


def test_a_job_without_time_for_another_trial_says_so(search, monkeypatch, caplog):
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1")
    assert search(trial_time=1.0).combination is None
    assert "this job ends before another trial would" in caplog.text


def test_a_trial_is_neither_forgotten_nor_held_twice(search, tmp_path):
    agent = search()
    with pytest.raises(DahpsError, match="this process still holds trial 0"):
        agent.get_new_combination()
    with pytest.raises(DahpsError, match="this process still holds trial 0"):
        search()
    with pytest.raises(DahpsError, match="trial 0: the loop continues"):
        list(agent)
    agent.finish_combination(0.5)
    with pytest.raises(DahpsError, match="there is no current trial"):
        agent.finish_combination(0.5)
    assert [trial.metric for trial in trials(tmp_path)] == [0.5]


def test_one_process_may_make_one_search_after_the_other(search, tmp_path):
    agents = []
    while not agents or agents[-1].combination is not None:
        if agents:
            agents[-1].finish_combination(0.5)
        agents.append(search())
    assert [trial.metric for trial in trials(tmp_path)] == [0.5] * 4
    with Ledger.open(tmp_path / "ledger") as ledger:
        assert ledger.worker_counts() == {"working": 0, "waiting": 0, "left": 5}


def test_a_storage_that_cannot_be_written_is_told(search, tmp_path):
    (tmp_path / "ledger").write_text("a file in place of the folder")
    with pytest.raises(NotALedgerError):
        search()
    (tmp_path / "ledger").unlink()
    (tmp_path / "ledger").symlink_to("nowhere")
    with pytest.raises(LedgerUnavailableError):
        search()


def test_only_so_many_checkpoints_are_kept(search, tmp_path):
    agent = search(keep_checkpoints=1)
    for trial in agent:
        agent.save_checkpoint({"number": trial.number})
        agent.finish_combination(abs(trial.number - 1))
    assert [path.name for path in (tmp_path / "ledger" / "checkpoints").iterdir()] == ["1"]


RANK = {
    "TORCHELASTIC_RUN_ID": "none",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
}


def set_rank(monkeypatch, rank, restarts=0):
    environ = {**RANK, "RANK": rank, "LOCAL_RANK": rank, "TORCHELASTIC_RESTART_COUNT": restarts}
    for name, value in environ.items():
        monkeypatch.setenv(name, str(value))


def test_another_rank_than_0_touches_nothing_and_knows_nothing_until_it_is_told(
    search, tmp_path, monkeypatch
):
    set_rank(monkeypatch, 1)
    follower = search()
    follower.report(0.5, 0)
    follower.save_checkpoint({"step": 4})
    follower.finish_combination(7)
    follower.release()
    assert follower.get_new_combination() is None
    assert not (tmp_path / "ledger").exists()
    for use in (lambda: follower.combination, lambda: list(follower), lambda: follower.trial().__enter__()):
        with pytest.raises(DahpsError, match="rank 1 of 2 has not received"):
            use()


def test_all_ranks_are_told_of_the_end(search, monkeypatch):
    leader = search()
    drawn(leader)
    set_rank(monkeypatch, 1)
    follower = search()
    shared = []
    with pytest.raises(SearchExhausted, match="all combinations"):
        leader._hand.share(lambda state: shared.append(json.dumps(state)), 0, 2)
    with pytest.raises(SearchExhausted, match="all combinations"):
        follower._hand.share(lambda _: json.loads(shared.pop()), 1, 2)
    assert follower.combination is None


def test_a_rank_that_did_not_know_of_the_others_gives_its_own_claim_back(search, tmp_path):
    agent = search()
    number = agent.current.number
    state = {"trial": None, "why_none": "for a test"}
    with pytest.raises(SearchExhausted, match="for a test"):
        agent._hand.share(lambda _: state, 1, 2)
    assert trials(tmp_path)[number].state.value == "released"
    with Ledger.open(tmp_path / "ledger") as ledger:
        assert ledger.worker_counts()["working"] == 0


def test_the_log_is_quiet_while_all_goes_well(search, caplog):
    caplog.set_level(logging.WARNING)
    agent = search()
    agent.finish_combination(1.0)
    assert not caplog.records
