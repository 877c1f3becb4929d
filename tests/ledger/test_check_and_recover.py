"""`dahps check` finds each violation and no others; `dahps recover` saves what can be saved, nothing else."""

import os
import random
import shutil
import sqlite3
from contextlib import closing, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_support import (
    REPORTS,
    ask,
    break_it,
    claim_all,
    claimed,
    ending_of,
    fail,
    finish,
    grid,
    lose,
    register,
    release,
    sql,
)

from dahps_core.cli import main
from dahps_core.errors import DahpsError
from dahps_core.ledger import FILE_NAME, Ledger
from dahps_core.ledger.folder import unrecorded
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.ledger.repair.check import violations
from dahps_core.ledger.repair.rebuild import rebuild
from dahps_core.ledger.sqlite.lock_epochs import newest_database
from dahps_core.model.records import Claim, Draw, TrialState

N_VALUES = 300


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A ledger of 240 trials in all states, with earlier attempts, three spaces and a few checkpoints."""
    folder = tmp_path_factory.mktemp("full") / "ledger"
    with Ledger.join(folder, grid(*range(200))) as ledger:
        worker, silent = register(ledger), register(ledger, run="other")
        claimed(ledger, silent)
        for number in range(199):
            claim = claimed(ledger, worker)
            if number % 9 == 0:
                (fail, lose, release)[number // 9 % 3](ledger, claim)
            else:
                reports = REPORTS if claim.number % 2 else ()
                metric = claim.number / 7
                ledger.end_if_held(ending_of(claim, result=metric, metric=metric, reports=reports))
    with Ledger.join(folder, grid(*range(N_VALUES)), on_change="extend") as ledger:
        for _ in range(40):
            claim = claimed(ledger, worker, max_attempts=3)
            finish(ledger, claim, metric=claim.number / 7)
        claimed(ledger, worker)
        retried, cancelled, *_ = [one.number for one in ledger.trials() if one.state is TrialState.FAILED]
        ledger.retry(retried)
        finish(ledger, claimed(ledger, worker), metric=retried / 7)
        for x in (280, 281, 282, 283):
            ledger.enqueue([{"x": x}])
        claim = claimed(ledger, worker)
        finish(ledger, claim, metric=claim.number / 7)
        fail(ledger, claimed(ledger, worker))
        claimed(ledger, worker)
        ledger.cancel(cancelled, claim.number + 2)
        ledger.retry(cancelled)
        Heart(folder, worker).beat()
    with Ledger.join(folder, grid(*range(N_VALUES)), only={"x": [283, 290, 291]}) as ledger:
        for x in (283, 290, 291):
            claim = claimed(ledger, register(ledger))
            assert claim.combination["x"] == x
            finish(ledger, claim, metric=claim.number / 7)
    (folder / "checkpoints" / "3").mkdir(parents=True)
    (folder / "checkpoints" / "3" / "state").write_text("of 3")
    return folder


@pytest.fixture
def copied(full, tmp_path):
    return shutil.copytree(full, tmp_path / "ledger")


def metrics(folder):
    with Ledger.open(folder) as ledger:
        return {
            trial.combination["x"]: trial.metric
            for trial in ledger.trials()
            if trial.state is TrialState.FINISHED
        }


def run_to_the_end(folder):
    with Ledger.open(folder) as ledger:
        dead = [row[0] for row in sql(folder, "SELECT id FROM worker")]
        worker = register(ledger)
        ledger.retry(*[one.number for one in ledger.trials() if one.state is TrialState.CANCELLED])
        while isinstance(draw := ask(ledger, worker, max_attempts=99, dead=dead), Claim):
            finish(ledger, draw)
        assert draw is Draw.EXHAUSTED
        assert len(metrics(folder)) == ledger.search.space.size


class TestCheck:
    def test_a_sound_ledger_is_sound(self, copied, capsys):
        assert list(violations(copied)) == []
        assert main(["check", str(copied)]) == 0
        assert capsys.readouterr().out == f"{copied}: sound\n"

    def test_so_is_an_empty_one_and_one_with_a_lock_folder(self, tmp_path):
        for locking in ("fcntl", "folder"):
            folder = tmp_path / locking
            with Ledger.join(folder, grid("a", "b"), locking=locking) as ledger:
                assert list(violations(folder)) == []
                worker = register(ledger)
                claimed(ledger, worker, after=ending_of(claimed(ledger, worker)))
            assert list(violations(folder)) == []

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            ("UPDATE trial SET combination = '{\"x\": 999}' WHERE number = 5", ["trial 5", "combination"]),
            ("UPDATE trial SET combination = '{' WHERE number = 5", ["trial 5", "cannot be read"]),
            ("UPDATE trial SET digest = 'other' WHERE number = 5", ["trial 5", "digest"]),
            ("UPDATE trial SET repetition = 1 WHERE number = 5", ["trial 5", "combination"]),
            ("UPDATE trial SET position = 7 WHERE number = 5", ["trial 5", "combination"]),
            ("UPDATE trial SET position = 9999 WHERE number = 5", ["trial 5", "position"]),
            ("UPDATE trial SET number = 1000 WHERE number = 5", ["trial 5", "missing"]),
            ("DELETE FROM trial WHERE number = 5", ["trial 5", "missing"]),
            ("UPDATE trial SET attempts = 2 WHERE number = 5", ["trial 5", "attempts"]),
            ("UPDATE trial SET charged = 0 WHERE number = 5", ["trial 5", "charged"]),
            ("UPDATE trial SET result = '1.5' WHERE number = 5", ["trial 5", "metric"]),
            ("UPDATE trial SET result = 'one' WHERE number = 5", ["trial 5", "result"]),
            ("UPDATE trial SET metric_is_nan = 1, metric = NULL WHERE number = 5", ["trial 5", "metric"]),
            (
                "UPDATE trial SET token = (SELECT token FROM trial WHERE number = 6) WHERE number = 5",
                ["token"],
            ),
            ("UPDATE trial SET worker = 'nobody' WHERE number = 5", ["trial", "worker"]),
            ("DELETE FROM attempt", ["attempts"]),
            ("UPDATE attempt SET outcome = 'lost'", ["charged"]),
            ("UPDATE trial SET pardoned = 0 WHERE pardoned > 0", ["charged", "pardoned"]),
            ("UPDATE trial SET combination = '{\"x\": 999}' WHERE position IS NULL", ["not in its space"]),
            ("UPDATE space SET n_enqueued = 0", ["space 2", "4 of 0 trials without a position exist"]),
            (
                "UPDATE trial SET repetition = 1 WHERE position IS NULL AND state = 'failed'",
                ["not in its space"],
            ),
            ("UPDATE run SET has_finished = 0", ["run", "summary"]),
            ("UPDATE run SET n_failed = 99", ["run", "summary"]),
            ("UPDATE space SET cursor = 3", ["space", "cursor"]),
            ("UPDATE space SET definition = '[]'", ["search cannot be read"]),
            ("UPDATE report SET attempt = 7 WHERE trial = 3", ["trial 3", "attempt 7", "does not exist"]),
            ("UPDATE report SET trial = 5000 WHERE trial = 3", ["report", "trial"]),
            ("UPDATE meta SET locking = 'folder'", ["locking"]),
            ("UPDATE meta SET seed = 'one'", ["search cannot be read"]),
            ("DELETE FROM meta", ["the search is missing"]),
            ("DROP INDEX trial_lost", ["schema", "trial_lost"]),
            ("DROP TRIGGER trials_stay", ["schema", "trials_stay"]),
            ("DELETE FROM trial WHERE number = (SELECT max(number) FROM trial)", ["was drawn", "missing"]),
            (
                "UPDATE trial SET state = 'running', ended_at = NULL, result = NULL, metric = NULL"
                " WHERE number IN (1, 2)",
                ["runs several trials"],
            ),
            (
                "UPDATE worker SET state = 'left', ended_at = 1 WHERE run = 'other'",
                ["is running, and its worker", "is left"],
            ),
            ("CREATE TABLE foreigner (x)", ["table foreigner", "not of the schema"]),
            ("CREATE INDEX foreigner ON trial (result)", ["index foreigner", "not of the schema"]),
            ("UPDATE trial SET ended_at = 1e300 WHERE number = 5", ["trial 5", "ended_at is 1e+300"]),
            ("UPDATE worker SET started_at = 9e999", ["worker", "started_at is inf"]),
        ],
    )
    def test_each_breach_is_told(self, copied, capsys, damage, words):
        break_it(copied, damage)
        assert main(["check", str(copied)]) == 1
        told = capsys.readouterr()
        assert all(word in told.out for word in words), told
        assert "Traceback" not in told.err

    def test_a_trigger_of_somebody_else_is_told(self, copied):
        with closing(sqlite3.connect(copied / FILE_NAME)) as connection, connection:
            connection.execute("CREATE TRIGGER sly AFTER UPDATE ON run BEGIN DELETE FROM pause; END")
        assert list(violations(copied)) == [f"{copied / FILE_NAME}: trigger sly is not of the schema"]

    @pytest.mark.parametrize("n_enqueued", [0, 1])
    def test_the_last_trial_is_missed(self, tmp_path, n_enqueued):
        with Ledger.join(tmp_path, grid("a", "b", "c", "d")) as ledger:
            worker = register(ledger)
            for x in ["d"][:n_enqueued]:
                ledger.enqueue([{"x": x}])
            for _ in range(3):
                finish(ledger, claimed(ledger, worker))
        assert list(violations(tmp_path)) == []
        break_it(tmp_path, "DELETE FROM trial WHERE number = 2")
        assert len(list(violations(tmp_path))) >= 1

    def test_a_foreign_heartbeat_and_checkpoint_are_told(self, copied):
        (copied / "heartbeats" / "nobody").touch()
        (copied / "checkpoints" / "5000").mkdir()
        told = list(violations(copied))
        assert [path.split(":")[0] for path in told] == [
            str(copied / "checkpoints" / "5000"),
            str(copied / "heartbeats" / "nobody"),
        ]

    def test_it_makes_and_changes_nothing(self, copied, tmp_path, capsys):
        before = (copied / FILE_NAME).read_bytes()
        main(["check", str(copied)])
        assert (copied / FILE_NAME).read_bytes() == before
        assert main(["check", str(tmp_path / "nowhere")]) == 1
        assert not (tmp_path / "nowhere").exists()
        assert "there is no ledger here" in capsys.readouterr().err


class TestTakingIn:
    @pytest.mark.parametrize(
        ("outcome", "state"), [("finished", "finished"), ("failed", "failed"), ("died", "lost")]
    )
    def test_what_could_not_be_recorded_is_taken_in_once(self, tmp_path, capsys, outcome, state):
        folder, output = tmp_path / "ledger", tmp_path / "run" / "0"
        output.mkdir(parents=True)
        with Ledger.join(folder, grid("a")) as ledger:
            worker = ledger.register("run", "host", 1, None, run_folder=str(tmp_path / "run"))
            unrecorded.write(output, ending_of(claimed(ledger, worker), outcome), folder)
        assert main(["recover", str(folder)]) == 0
        assert f"trial #0 {outcome}, recorded" in capsys.readouterr().out
        with Ledger.open(folder) as ledger:
            assert next(ledger.trials()).state.value == state
        assert [path.name for path in output.iterdir()] == ["dahps-recorded.json"]
        assert main(["recover", str(folder)]) == 0
        assert "nothing" in capsys.readouterr().out
        assert list(violations(folder)) == []

    def test_attempts_that_wrote_in_one_folder_are_both_taken_in(self, tmp_path, capsys):
        with Ledger.join(tmp_path / "ledger", grid("a")) as ledger:
            silent, other = register(ledger), register(ledger)
            lost = ending_of(claimed(ledger, silent))
            held = ending_of(claimed(ledger, other, dead=[silent]))
            (tmp_path / "0").mkdir()
            paths = {unrecorded.write(tmp_path / "0", ending, ledger.folder) for ending in (held, lost)}
            assert len(paths) == len(list((tmp_path / "0").iterdir())) == 2
            assert main(["recover", str(ledger.folder), str(tmp_path / "0")]) == 0
            told = capsys.readouterr().out
            assert "recorded" in told
            assert "claimed again" in told
            assert ledger.best().metric == 0.5

    def test_a_file_that_cannot_be_renamed_may_be_taken_in_again(self, tmp_path, capsys):
        (tmp_path / "dahps-recorded.json" / "in the way").mkdir(parents=True)
        with Ledger.join(tmp_path / "ledger", grid("a")) as ledger:
            path = unrecorded.write(tmp_path, ending_of(claimed(ledger, register(ledger))), ledger.folder)
            for _ in range(2):
                assert main(["recover", str(ledger.folder), str(path)]) == 0
                assert "trial #0 finished, recorded" in capsys.readouterr().out
            assert ledger.best().metric == 0.5

    def test_two_attempts_that_could_not_record_their_ends_are_both_kept(self, tmp_path, capsys):
        with Ledger.join(tmp_path / "ledger", grid("a")) as ledger:
            silent, other = register(ledger), register(ledger)
            first = ending_of(claimed(ledger, silent))
            second = ending_of(claimed(ledger, other, dead=[silent]), "failed")
            paths = [unrecorded.write(tmp_path, ending, ledger.folder) for ending in (second, first)]
            assert [unrecorded.read(path) for path in paths] == [second, first]
            assert main(["recover", str(ledger.folder), str(tmp_path)]) == 0
            told = capsys.readouterr().out
            assert "claimed again" in told
            assert "trial #0 failed, recorded" in told
        assert sorted(path.name for path in tmp_path.glob("dahps-*")) == [
            "dahps-recorded-2.json",
            "dahps-unrecorded.json",
        ]

    def test_the_word_of_who_lost_its_claim_does_not_count(self, tmp_path, capsys):
        with Ledger.join(tmp_path / "ledger", grid("a")) as ledger:
            silent, other = register(ledger), register(ledger)
            path = unrecorded.write(tmp_path, ending_of(claimed(ledger, silent)), ledger.folder)
            finish(ledger, claimed(ledger, other, dead=[silent]), metric=3.0)
            assert main(["recover", str(ledger.folder), str(path)]) == 0
            assert "claimed again" in capsys.readouterr().out
            assert ledger.best().metric == 3.0
        assert path.exists()

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{}",
            b"[]",
            b"\x80\x04.",
            b'{"number": 1e400, "attempt": 1, "token": "t", "outcome": "finished", "ledger": ""}',
            b'{"number": -1, "attempt": 1, "token": "t", "outcome": "finished", "ledger": ""}',
            b'{"number": 0, "attempt": 1, "token": [], "outcome": "finished", "ledger": ""}',
            b'{"number": 0, "attempt": 1, "token": "t", "outcome": "released", "ledger": ""}',
            b'{"number": 0, "attempt": 1, "token": "t", "outcome": "failed", "ledger": ""}',
            b'{"number": 0, "attempt": 1, "token": "t", "outcome": "finished", "ledger": "", "more": 1}',
            b"[" * 100_000,
        ],
    )
    def test_hostile_files_are_told_and_left(self, tmp_path, capsys, content):
        Ledger.join(tmp_path / "ledger", grid("a")).close()
        (tmp_path / "dahps-unrecorded.json").write_bytes(content)
        assert main(["recover", str(tmp_path / "ledger"), str(tmp_path)]) == 0
        assert "was not written by a worker" in capsys.readouterr().out
        assert (tmp_path / "dahps-unrecorded.json").read_bytes() == content


def test_a_rebuilt_ledger_has_the_identity_of_the_damaged_one(tmp_path):
    search = grid("a", "b")
    with Ledger.join(tmp_path / "ledger", search) as ledger, Ledger.join(tmp_path / "other", search) as other:
        identity = ledger.identity()
        assert other.identity() != identity
    rebuild(tmp_path / "ledger", tmp_path / "rebuilt")
    with Ledger.open(tmp_path / "rebuilt") as rebuilt:
        assert rebuilt.identity() == identity


def damage_page(folder, page, content):
    with open(folder / FILE_NAME, "r+b") as file:
        file.seek(4096 * page)
        file.write(content)


def recover_and_compare(folder, full, capsys):
    """Whatever is wrong with it: no traceback, no wrong result, and a search that goes on."""
    before = (folder / FILE_NAME).read_bytes()
    code = main(["recover", str(folder)])
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    new = folder.with_name(f"{folder.name}.recovered")
    assert (folder / FILE_NAME).read_bytes() == before or not new.exists()
    if code:
        assert not new.exists()
        return None
    found = new if new.exists() else folder
    assert list(violations(found)) == []
    kept, was = metrics(found), metrics(full)
    assert kept.items() <= was.items()
    run_to_the_end(found)
    return kept, told.out


class TestRebuilding:
    def test_a_stray_file_is_no_damage(self, copied, capsys):
        (copied / "heartbeats" / "nobody").touch()
        assert main(["recover", str(copied)]) == 0
        assert not copied.with_name("ledger.recovered").exists()
        assert "nothing" in capsys.readouterr().out

    def test_it_is_locked_as_the_old_one(self, tmp_path, capsys):
        old, new = tmp_path / "ledger", tmp_path / "new"
        with Ledger.join(old, grid("a", "b"), locking="folder") as ledger:
            finish(ledger, claimed(ledger, register(ledger)), metric=3.0)
        with closing(sqlite3.connect(newest_database(old / FILE_NAME))) as connection, connection:
            connection.execute("DROP INDEX trial_lost")
        assert main(["recover", str(old), "--into", str(new)]) == 0
        assert (new / FILE_NAME).is_dir()
        assert list(violations(new)) == []
        assert metrics(new) == {"a": 3.0}

    @pytest.mark.parametrize(
        "damage",
        [
            "UPDATE trial SET state = 'released' WHERE number = 5",
            "UPDATE trial SET state = 'running' WHERE number = 5",
            "UPDATE trial SET ended_at = NULL WHERE number = 5",
            "UPDATE trial SET metric_is_nan = 7, metric = NULL WHERE number = 5",
            "UPDATE attempt SET outcome = 'finished'",
            "UPDATE trial SET state = 'queued' WHERE number = 5",
            "UPDATE trial SET token = NULL WHERE number = 5",
            "UPDATE trial SET state = 'finished' WHERE state = 'cancelled'",
            "UPDATE trial SET pardoned = -1 WHERE number = 5",
            "UPDATE trial SET pardoned = 100 WHERE number = 5",
            "UPDATE trial SET number = 10000000000 WHERE number = 5",
            "UPDATE space SET n_enqueued = 10000000000",
            "UPDATE report SET attempt = 7",
            "UPDATE report SET step = -step",
            "UPDATE report SET metric_is_nan = 2 WHERE step = 2",
        ],
    )
    def test_rows_that_no_schema_would_take_are_left(self, full, copied, capsys, damage):
        break_it(copied, damage)
        kept, told = recover_and_compare(copied, full, capsys)
        assert len(kept) >= len(metrics(full)) - 1
        assert "could be read" in told

    def test_a_page_that_is_lost_costs_what_stood_on_it(self, full, tmp_path, capsys):
        n_pages = os.path.getsize(full / FILE_NAME) // 4096
        noise = random.Random(3)
        rebuilt = []
        for page in range(n_pages):
            folder = shutil.copytree(full, tmp_path / str(page))
            damage_page(folder, page, bytes(4096) if page % 2 else noise.randbytes(4096))
            saved = recover_and_compare(folder, full, capsys)
            if saved:
                rebuilt.append(len(saved[0]))
        assert len(rebuilt) >= n_pages - 8, (
            "only where meta, space or the schema stand is nothing to be saved"
        )
        assert min(rebuilt) < max(rebuilt) == len(metrics(full))

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_a_file_that_was_cut_off(self, full, copied, capsys, share):
        size = os.path.getsize(copied / FILE_NAME)
        os.truncate(copied / FILE_NAME, int(size * share))
        recover_and_compare(copied, full, capsys)

    def test_no_more_trials_are_looked_for_than_a_file_can_hold(self, full, copied, capsys):
        break_it(copied, "UPDATE space SET n_enqueued = 10000000000")
        with closing(sqlite3.connect(copied / FILE_NAME)) as connection:
            root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'trial'").fetchone()[0]
        damage_page(copied, root - 1, bytes(4096))
        kept, _ = recover_and_compare(copied, full, capsys)
        assert kept == {}

    def test_checkpoints_of_trials_that_could_be_read_are_linked(self, copied, capsys):
        break_it(copied, "DELETE FROM attempt")
        assert main(["recover", str(copied), "--into", str(copied.parent / "new")]) == 0
        assert "240 of 240 trials could be read" in capsys.readouterr().out
        with Ledger.open(copied) as old, Ledger.open(copied.parent / "new") as new:
            assert str(new.history(3)) == str(old.history(3)) == "[(1, 1, 0.5), (1, 2, nan)]"
        assert (copied.parent / "new" / "checkpoints" / "3" / "state").read_text() == "of 3"
        assert main(["recover", str(copied), "--into", str(copied.parent / "new")]) == 1
        assert "already exists" in capsys.readouterr().err

    @pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\0" + bytes(5000)])
    def test_where_nothing_is_left_it_says_so(self, copied, capsys, content):
        (copied / FILE_NAME).write_bytes(content)
        assert main(["recover", str(copied)]) == 1
        assert not copied.with_name("ledger.recovered").exists()
        assert capsys.readouterr().err.startswith("dahps: ")


LOOKS = (
    Ledger.counts,
    Ledger.best,
    lambda ledger: [*ledger.trials()],
    lambda ledger: ledger.run("run"),
    lambda ledger: ledger.history(3),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 255)), min_size=1, max_size=40))
def test_readers_of_a_damaged_ledger_are_right_or_say_so(full, tmp_path_factory, flips):
    content = bytearray((full / FILE_NAME).read_bytes())
    for place, value in flips:
        content[place % len(content)] = value
    folder = tmp_path_factory.mktemp("flipped")
    (folder / FILE_NAME).write_bytes(content)
    for look in LOOKS:
        with suppress(DahpsError), Ledger.open(folder, patience_s=0.0) as ledger:
            look(ledger)
    with suppress(DahpsError):
        list(violations(folder, patience_s=0.0))
    shutil.rmtree(folder)


def test_a_result_that_is_no_metric_is_sound(folder):
    with Ledger.join(folder, grid("a", "b", "c")) as ledger:
        claims, _ = claim_all(ledger, register(ledger))
        for claim, result in zip(claims, ["text", {"loss": 1.0}, [1, None]], strict=True):
            ledger.finish_if_held(claim, result=result, metric=None, output_dir="out")
    assert list(violations(folder)) == []
