"""Workers that draw from one branch of the space alone (`only`)."""

import pytest
from ledger_support import ask, claim_all, claimed, fail, finish, lose, record, register, release, unsound

from dahps_core.errors import ConfigurationError, SearchChangedError
from dahps_core.ledger import Ledger, Search
from dahps_core.model.records import Draw, TrialState
from dahps_core.space import SearchSpace

DEIT = {"model": "deit"}


def space(*sizes):
    sizes = {"key": "size", "values": list(sizes), "default": None}
    depths = {"key": "depth", "values": [1, 2], "default": None}
    models = {"key": "model", "values": ["resnet", "deit"], "cases": {"deit": sizes}, "default": depths}
    return SearchSpace.from_config({"root": models})


def search(*sizes):
    return Search(space(*sizes or (16, 32)), strategy="grid", seed=0)


@pytest.fixture(params=["fcntl", "folder"])
def locking(request):
    return request.param


@pytest.fixture
def whole(folder, locking):
    """All of the space: resnet 1, 2, deit 16, 32; sound in the end, whatever a test did with it."""
    with Ledger.join(folder, search(), locking=locking) as ledger:
        yield ledger
    assert unsound(folder) == []


@pytest.fixture
def branch(whole, folder, locking):
    with Ledger.join(folder, search(), only=DEIT, locking=locking) as ledger:
        yield ledger


def models(claims):
    return [claim.combination["model"] for claim in claims]


def test_only_the_branch_is_drawn_and_nothing_is_drawn_twice(whole, branch):
    claims, last = claim_all(branch, register(branch))
    assert [claim.combination["size"] for claim in claims] == [16, 32]
    assert last is Draw.WAIT
    rest, _ = claim_all(whole, register(whole))
    assert models(rest) == ["resnet", "resnet"]
    assert [claim.number for claim in claims + rest] == [0, 1, 2, 3]


def test_it_ends_when_the_branch_has(whole, branch):
    worker = register(branch)
    assert branch.remaining(None, 2) == 2
    claimed(whole, register(whole))
    for claim in claim_all(branch, worker)[0]:
        assert branch.remaining(None, 2) == 2 - claim.number + 1
        finish(branch, claim)
    assert ask(branch, worker) is Draw.EXHAUSTED
    assert branch.remaining(None, 2) == 0
    assert whole.remaining(None, 2) == 2  # its cursor has not passed over the branch


@pytest.mark.parametrize("edge", [release, fail, lose])
def test_what_is_served_again_is_of_the_branch_whoever_drew_it(whole, branch, edge):
    worker = register(whole)
    claims, _ = claim_all(whole, worker)
    for claim in claims:
        edge(whole, claim)
    assert branch.remaining(None, 2) == 2  # its own cursor has not passed over them
    again, last = claim_all(branch, register(branch))
    assert models(again) == ["deit", "deit"]
    assert [claim.attempt for claim in again] == [2, 2]
    assert last is Draw.WAIT
    assert branch.remaining(None, 2) == 2


def test_a_branch_by_a_key_that_others_do_not_have(whole, folder, locking):
    worker = register(whole)
    for claim in claim_all(whole, worker)[0]:
        release(whole, claim)
    with Ledger.join(folder, search(), only={"size": [32]}, locking=locking) as ledger:
        assert claimed(ledger, register(ledger)).combination["size"] == 32
        assert ask(ledger, register(ledger)) is Draw.WAIT


def test_queued_trials_too(whole, branch):
    worker = register(branch)
    whole.enqueue([{"model": "resnet", "depth": 2}, {"model": "deit", "size": 32}])
    assert [claimed(branch, worker).number, claimed(branch, worker).number] == [1, 2]
    with pytest.raises(ConfigurationError, match="model"):
        branch.enqueue([{"model": "resnet", "depth": 1}])


def test_lost_ones_as_well_and_only_those_of_the_branch_are_waited_for(whole, branch):
    silent, worker = register(whole), register(branch)
    held, _ = claim_all(whole, silent)
    assert ask(branch, worker) is Draw.WAIT
    again, _ = claim_all(branch, worker, dead=[silent])
    assert models(again) == ["deit", "deit"]
    for claim in again:
        finish(branch, claim)
    assert ask(branch, worker, dead=[silent]) is Draw.EXHAUSTED
    assert [record(whole, claim.number).state.value for claim in held] == [
        "lost",
        "lost",
        "finished",
        "finished",
    ]


def test_who_waits_for_another_branch_is_not_relied_on(whole, branch, folder, locking):
    holder = register(whole)
    for _ in range(4):
        claimed(whole, holder)
    of_branch, of_all, of_all_too = register(branch), register(whole), register(whole)
    assert ask(branch, of_branch) is Draw.WAIT
    alive = [holder, of_branch, of_all]
    with Ledger.join(folder, search(), only={"model": "resnet"}, locking=locking) as other:
        assert ask(other, register(other), alive=alive) is Draw.WAIT
    assert ask(branch, register(branch), alive=alive) is Draw.LEAVE
    assert ask(whole, of_all, alive=alive) is Draw.WAIT
    assert ask(whole, of_all_too, alive=alive) is Draw.LEAVE


def test_the_ledger_stays_one_of_the_whole_space(whole, branch, folder, locking):
    assert (branch.search.space.size, branch.space.size) == (4, 2)
    with Ledger.open(folder) as opened:
        assert opened.search.space.size == 4
    with pytest.raises(SearchChangedError):
        Ledger.join(folder, search(16, 32, 64), only=DEIT, locking=locking)
    with Ledger.join(folder, search(16, 32, 64), only=DEIT, locking=locking, on_change="extend") as more:
        assert [claim.combination["size"] for claim in claim_all(more, register(more))[0]] == [16, 32, 64]
    with Ledger.open(folder) as opened:
        assert opened.search.space.size == 5


def test_whoever_joins_with_what_another_one_joined_gets_the_same(whole, branch, folder, locking):
    first = claimed(branch, register(branch))
    with Ledger.join(folder, branch.search, only=DEIT, create=False, locking=locking) as again:
        second = claimed(again, register(again))
        assert again.remaining(None, 2) == 2
    assert [first.combination["size"], second.combination["size"]] == [16, 32]


def test_a_branch_may_be_all_of_the_space(whole, folder, locking):
    with Ledger.join(folder, search(), only={"model": ["deit", "resnet"]}, locking=locking) as ledger:
        assert len(claim_all(ledger, register(ledger))[0]) == 4
    assert whole.counts()[TrialState.RUNNING] == 4


def test_what_no_branch_can_be_made_of_changes_nothing(whole, folder, locking):
    with pytest.raises(ConfigurationError, match='"resnet", "deit"'):
        Ledger.join(folder, search(), only={"model": "vit"}, locking=locking)
    with pytest.raises(ConfigurationError, match="only"):
        Ledger.join(folder / "new", search(), only={"modle": "deit"})


def test_max_trials_is_of_all_the_ledger(whole, branch):
    claim_all(whole, register(whole), max_trials=1)
    assert len(claim_all(branch, register(branch), max_trials=2)[0]) == 1
    assert branch.remaining(2, 2) == 1
