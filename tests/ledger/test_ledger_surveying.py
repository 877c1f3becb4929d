from dahps_core import Ledger
from dahps_core.model.records import Report
from tests.ledger.ledger_support import claimed, fail, finish, grid, levelled, register, release


def test_the_mark_of_a_trial_changes_whenever_the_trial_does(tmp_path):
    with Ledger.join(tmp_path, grid(1, 2)) as ledger:
        worker = register(ledger)
        seen = [list(ledger.marks())]

        def note():
            seen.append(list(ledger.marks()))

        claim = claimed(ledger, worker, max_trials=1)
        note()
        release(ledger, claim)
        note()
        claim = claimed(ledger, worker, max_trials=1)
        note()
        fail(ledger, claim)
        note()
        claim = claimed(ledger, worker, max_trials=1)
        note()
        finish(ledger, claim)
        note()
    assert seen == [
        [],
        [(0, 1, "running")],
        [(0, 1, "released")],
        [(0, 2, "running")],
        [(0, 2, "failed")],
        [(0, 3, "running")],
        [(0, 3, "finished")],
    ]


def test_a_promotion_changes_the_mark(tmp_path):
    with Ledger.join(tmp_path, levelled(9)) as ledger:
        worker = register(ledger)
        before = {}
        while (claim := claimed(ledger, worker)).attempt == 1:
            finish(ledger, claim)
            before = {number: mark for number, *mark in ledger.marks()}
        after = {number: mark for number, *mark in ledger.marks()}
    assert before[claim.number] == [1, "finished"]
    assert after[claim.number] == [2, "running"]


def test_all_attempts_are_told_in_order_with_their_workers(tmp_path):
    with Ledger.join(tmp_path, grid(1, 2)) as ledger:
        first, second = register(ledger, host="a"), register(ledger, host="b", job="7")
        release(ledger, claimed(ledger, first))
        finish(ledger, claimed(ledger, second), 0.25)
        claimed(ledger, first)
        told = [
            (one.trial, one.attempt, one.outcome, one.metric, one.worker, one.place)
            for one in ledger.attempts_among(range(2))
        ]
    assert told == [
        (0, 1, "released", None, first, "a:1"),
        (0, 2, "finished", 0.25, second, "b:1 job 7"),
        (1, 1, "running", None, first, "a:1"),
    ]


def test_trials_and_histories_are_read_by_number(tmp_path):
    with Ledger.join(tmp_path, grid(*range(5))) as ledger:
        worker = register(ledger)
        for number in range(4):
            claim = claimed(ledger, worker)
            ledger.record_history(claim, [Report(1, number + 0.5)])
            finish(ledger, claim)
        assert [trial.number for trial in ledger.trials_among([3, 1, 99])] == [1, 3]
        assert ledger.histories([0, 3]) == {0: {1: 0.5}, 3: {1: 3.5}}
