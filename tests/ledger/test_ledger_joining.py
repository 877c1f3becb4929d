"""Making a ledger, coming back to it, and being refused by it."""

import os
import sqlite3
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import ask, claim_all, claimed, finish, grid, record, register, space_of, sql

from dahps_core.errors import (
    ConfigurationError,
    LedgerDamagedError,
    LedgerError,
    LedgerUnavailableError,
    LedgerVersionError,
    LockingChangedError,
    NotALedgerError,
    SearchChangedError,
)
from dahps_core.ledger import FILE_NAME, Ledger, Search
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.model.records import Draw
from dahps_core.space import SearchSpace
from tests.support import wait_until


def values_of(claims):
    return [claim.combination["x"] for claim in claims]


class TestComingBack:
    def test_a_ledger_goes_on_where_it_was_left(self, folder):
        with Ledger.join(folder, grid("a", "b")) as ledger:
            finish(ledger, claimed(ledger, register(ledger)), metric=0.125)
        with Ledger.join(folder, grid("a", "b")) as ledger:
            assert record(ledger, 0).metric == 0.125
            assert claimed(ledger, register(ledger)).number == 1

    def test_a_reader_finds_the_whole_search(self, folder):
        search = Search(space_of("a"), strategy="grid", direction="maximize", metric="accuracy", seed=2**70)
        Ledger.join(folder, search).close()
        with Ledger.open(folder) as ledger:
            found = ledger.search
            assert (found.strategy, found.direction, found.metric) == ("grid", "maximize", "accuracy")
            assert found.seed == 2**70
            assert found.space.digest() == search.space.digest()

    def test_the_seed_that_was_drawn_is_kept(self, folder, tmp_path):
        search = Search(space_of(*range(50)))
        with Ledger.join(folder, search) as first, Ledger.join(folder, search) as second:
            assert first.search.seed is not None
            assert first.search.seed == second.search.seed
        with Ledger.join(tmp_path / "other", search) as other:
            assert other.search.seed != first.search.seed

    def test_the_seed_decides_the_order_which_has_all_once(self, tmp_path):
        def order(name, seed):
            with Ledger.join(tmp_path / name, Search(space_of(*range(30)), seed=seed)) as ledger:
                return values_of(claim_all(ledger, register(ledger))[0])

        assert order("one", 7) == order("two", 7)
        assert order("one again", 7) != order("three", 8)
        assert sorted(order("four", 8)) == list(range(30))

    def test_a_space_of_any_size_is_joined_at_once(self, folder):
        node = None
        for level in range(40):
            node = {"key": f"k{level}", "values": [0, 1, 2], "default": node}
        with Ledger.join(folder, Search(SearchSpace.from_config({"root": node}))) as ledger:
            assert ledger.search.space.size == 3**40
            assert claimed(ledger, register(ledger)).number == 0


class TestAChangedSearch:
    @pytest.fixture
    def joined(self, folder):
        search = Search(space_of("a", "b"), strategy="grid", metric="loss", seed=1)
        with Ledger.join(folder, search) as ledger:
            yield ledger

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"strategy": "random"}, "strategy.name: the ledger has 'grid', this command 'random'"),
            ({"direction": "maximize"}, "direction: the ledger has 'minimize', this command 'maximize'"),
            ({"metric": None}, "metric: the ledger has 'loss', this command None"),
            ({"seed": 2}, "seed: the ledger has 1, this command 2"),
        ],
    )
    def test_a_changed_setting_is_refused_whether_or_not_to_extend(self, joined, change, told):
        settings = {"strategy": "grid", "direction": "minimize", "metric": "loss", "seed": None, **change}
        for on_change in ("refuse", "extend"):
            with pytest.raises(SearchChangedError) as caught:
                Ledger.join(joined.folder, Search(space_of("a", "b"), **settings), on_change=on_change)
            assert told in str(caught.value)
            assert "hydra.sweeper.ledger" in str(caught.value)
            assert "on_change=extend" not in str(caught.value)

    def test_a_changed_space_is_refused_with_its_differences_and_the_ways_out(self, joined):
        with pytest.raises(SearchChangedError) as caught:
            Ledger.join(joined.folder, Search(space_of("a", "c"), strategy="grid", metric="loss"))
        text = str(caught.value)
        assert "'c'" in text or "c" in text.split("another search:")[1]
        assert "hydra.sweeper.ledger" in text
        assert "hydra.sweeper.on_change=extend" in text
        assert sql(joined.folder, "SELECT count(*) FROM space") == [(1,)]

    def test_an_empty_search_may_be_thrown_away_and_no_other(self, joined):
        advice = "nothing has finished in it"
        with pytest.raises(SearchChangedError, match=advice):
            Ledger.join(joined.folder, Search(space_of("a")))
        finish(joined, claimed(joined, register(joined)))
        with pytest.raises(SearchChangedError) as caught:
            Ledger.join(joined.folder, Search(space_of("a")))
        assert advice not in str(caught.value)

    def test_all_changes_are_told_at_once(self, joined):
        with pytest.raises(SearchChangedError) as caught:
            Ledger.join(joined.folder, Search(space_of("a"), direction="maximize"))
        lines = str(caught.value).splitlines()
        assert len([line for line in lines if line.startswith("  ")]) >= 4

    def test_an_extended_ledger_runs_only_what_is_new(self, folder):
        with Ledger.join(folder, grid("a", "b", "c")) as old:
            worker = register(old)
            claimed(old, worker)
            claimed(old, worker)
            with Ledger.join(folder, grid("b", "d", "a", "e"), on_change="extend") as new:
                claims, last = claim_all(new, register(new))
                assert values_of(claims) == ["d", "e"]
                assert [claim.number for claim in claims] == [2, 3]
                assert last is Draw.WAIT
            assert values_of(claim_all(old, worker)[0]) == ["c"]

    def test_whoever_joins_with_a_space_that_is_there_needs_not_extend(self, folder):
        Ledger.join(folder, grid("a", "b")).close()
        Ledger.join(folder, grid("a", "c"), on_change="extend").close()
        with Ledger.join(folder, grid("a", "b")) as ledger:
            assert values_of(claim_all(ledger, register(ledger))[0]) == ["a", "b"]
        with Ledger.open(folder) as ledger:
            assert ledger.search.space.digest() == space_of("a", "c").digest()
        assert sql(folder, "SELECT count(*) FROM space") == [(2,)]

    def test_an_overlap_of_thousands_is_passed_over(self, folder):
        with Ledger.join(folder, grid(*range(2500))) as old:
            claim_all(old, register(old))
        with Ledger.join(folder, grid(*range(2501)), on_change="extend") as new:
            worker = register(new)
            assert values_of([claimed(new, worker)]) == [2500]
            assert ask(new, worker) is Draw.WAIT

    def test_repetitions_can_be_added(self, folder):
        with Ledger.join(folder, grid("a", "b")) as ledger:
            claim_all(ledger, register(ledger))
        with Ledger.join(folder, grid("a", "b", repetitions=2), on_change="extend") as ledger:
            claims, _ = claim_all(ledger, register(ledger))
        assert [(claim.combination["x"], claim.repetition) for claim in claims] == [("a", 1), ("b", 1)]

    @pytest.mark.parametrize("setting", [{"strategy": "randon"}, {"direction": "maximise"}])
    def test_an_unknown_setting_is_told_with_the_nearest_valid_one(self, setting):
        with pytest.raises(ConfigurationError, match=r"Did you mean '(random|maximize)'"):
            Search(space_of("a"), **setting)


@pytest.mark.parametrize("settings", [{"seed": 10**5000}, {"metric": "\ud800"}, {"metric": "a\nb"}])
def test_a_setting_that_cannot_be_kept_is_refused(settings):
    with pytest.raises(ConfigurationError):
        Search(space_of("a"), **settings)


def test_a_folder_that_no_system_can_have_is_refused():
    for way in (lambda: Ledger.join("a\0b", grid("a")), lambda: Ledger.open("a\0b")):
        with pytest.raises(ConfigurationError, match="NUL"):
            way()


class TestWhatIsNoLedger:
    def test_nothing(self, folder):
        with pytest.raises(NotALedgerError, match="there is no ledger here"):
            Ledger.open(folder)
        assert not folder.exists()

    def test_an_empty_file_is_no_ledger_yet_but_can_become_one(self, folder):
        folder.mkdir(parents=True)
        (folder / "ledger.db").touch()
        with pytest.raises(NotALedgerError, match="there is no ledger here"):
            Ledger.open(folder)
        Ledger.join(folder, grid("a")).close()
        Ledger.open(folder).close()

    @pytest.mark.parametrize("content", [b"garbage" * 1000, b"notes of mine"])
    def test_garbage_is_refused_and_left_as_it_is(self, folder, content):
        folder.mkdir(parents=True)
        (folder / "ledger.db").write_bytes(content)
        for attempt in (lambda: Ledger.open(folder), lambda: Ledger.join(folder, grid("a"))):
            with pytest.raises(NotALedgerError):
                attempt()
        assert (folder / "ledger.db").read_bytes() == content

    def test_another_program_s_database_is_refused(self, folder):
        folder.mkdir(parents=True)
        sql(folder, "CREATE TABLE trial (number)")
        for attempt in (lambda: Ledger.open(folder), lambda: Ledger.join(folder, grid("a"))):
            with pytest.raises(NotALedgerError, match="not a ledger"):
                attempt()
        assert sql(folder, "SELECT name FROM sqlite_master") == [("trial",)]

    def test_a_newer_ledger_is_refused(self, folder):
        Ledger.join(folder, grid("a")).close()
        sql(folder, "PRAGMA user_version = 99")
        for attempt in (lambda: Ledger.open(folder), lambda: Ledger.join(folder, grid("a"))):
            with pytest.raises(LedgerVersionError, match="schema 99"):
                attempt()

    def test_a_ledger_in_wal_mode_is_refused(self, folder):
        Ledger.join(folder, grid("a")).close()
        sql(folder, "PRAGMA journal_mode = WAL")
        for attempt in (lambda: Ledger.open(folder), lambda: Ledger.join(folder, grid("a"))):
            with pytest.raises(LedgerUnavailableError, match="WAL"):
                attempt()

    def test_a_file_in_place_of_the_folder(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(NotALedgerError, match="this is a file"):
            Ledger.join(tmp_path / "file", grid("a"))
        with pytest.raises(LedgerUnavailableError, match="Not a directory"):
            Ledger.join(tmp_path / "file" / "ledger", grid("a"))

    def test_a_folder_in_place_of_the_file(self, folder):
        (folder / "ledger.db").mkdir(parents=True)
        with pytest.raises(LockingChangedError):
            Ledger.join(folder, grid("a"))

    def test_a_damaged_file_is_told(self, folder):
        with Ledger.join(folder, grid(*range(500))) as ledger:
            claim_all(ledger, register(ledger))
        with open(folder / "ledger.db", "r+b") as file:
            file.seek(4096)
            file.write(os.urandom(40 * 4096))
        with pytest.raises(LedgerDamagedError, match="malformed"), Ledger.open(folder) as ledger:
            list(ledger.trials())

    def test_a_ledger_that_was_there_is_waited_for_and_never_made_anew(self, folder, caplog):
        answers = []
        with Ledger.join(folder, grid("a")) as ledger:
            register(ledger)
            folder.rename(folder.with_name("away"))
            ledger.close()
            asking = threading.Thread(target=lambda: answers.append(ledger.counts()))
            asking.start()
            wait_until(lambda: "Waiting up to" in caplog.text, 30, "a word that it waits")
            assert asking.is_alive()
            folder.with_name("away").rename(folder)
            asking.join(30)
            assert "is back" in caplog.text
            assert sum(answers[0].values()) == 0
            assert claimed(ledger, register(ledger)).number == 0

    def test_and_is_given_up_after_a_while(self, folder):
        with Ledger.join(folder, grid("a"), patience_s=0.1) as ledger:
            folder.rename(folder.with_name("away"))
            ledger.close()
            with pytest.raises(LedgerUnavailableError, match="No such file or directory"):
                ledger.counts()
            assert not folder.exists()

    def test_an_emptied_file_is_no_new_ledger_where_a_search_has_been(self, folder):
        with Ledger.join(folder, grid("a")) as ledger:
            Heart(folder, register(ledger)).beat()
        (folder / "ledger.db").write_bytes(b"")
        for _ in range(2):
            with pytest.raises(LedgerDamagedError, match="a search has been here"):
                Ledger.join(folder, grid("a"))
            (folder / "ledger.db").unlink(missing_ok=True)

    def test_whoever_expects_a_ledger_makes_none(self, folder):
        folder.mkdir(parents=True)
        with pytest.raises(LedgerUnavailableError, match="unable to open"):
            Ledger.join(folder, grid("a"), create=False, patience_s=0.1)
        assert not (folder / "ledger.db").exists()
        (folder / "ledger.db").touch()
        with pytest.raises(NotALedgerError, match="removed"):
            Ledger.join(folder, grid("a"), create=False, patience_s=0.1)


def test_the_ledger_of_a_parent_is_refused_in_its_child_and_goes_on_in_the_parent(ledger):
    child = os.fork()
    if child == 0:
        try:
            with Ledger.open(ledger.folder) as own:
                claimed(own, register(own))
            ledger.n_drawn  # noqa: B018 - the read is what is refused
        except LedgerError as error:
            os._exit(0 if "parent of this process" in str(error) else 1)
        except BaseException:
            os._exit(2)
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert claimed(ledger, register(ledger)).number == 1


def test_the_file_says_whose_it_is(ledger):
    with closing(sqlite3.connect(ledger.folder / "ledger.db")) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (0x44414850,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_tries_in_vain_leave_no_database_open(folder):
    folder.mkdir(parents=True)
    database = folder / FILE_NAME
    database.write_bytes(b"garbage" * 1000)
    tries = []  # kept, as by whoever logs them
    for _ in range(3):
        with pytest.raises(LedgerError) as caught:
            Ledger.open(folder)
        tries.append(caught.value)
    opened = [Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert not [path for path in opened if path.exists() and path.samefile(database)]


def reordered(node, draw):
    """A tree with the values of each node in another order."""
    values = draw(st.permutations(node["values"]))
    below = {
        str(value): reordered(child, draw) if child else None
        for value, child in node.get("cases", {}).items()
    }
    return {**node, "values": values, **({"cases": below} if below else {})}


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_reordered_values_are_the_same_search_where_the_strategy_has_its_own_order(data):
    leaf = {"key": "size", "values": [1, 2, 3], "default": None}
    tree = {"key": "model", "values": ["a", "b"], "cases": {"a": leaf, "b": None}}
    spaces = [SearchSpace.from_config({"root": one}) for one in (tree, reordered(tree, data.draw))]
    with tempfile.TemporaryDirectory() as folder:
        with Ledger.join(folder, Search(spaces[0], "random", seed=1)) as first:
            drawn = [claimed(first, register(first)).combination for _ in range(2)]
        only = data.draw(st.sampled_from([None, {"model": "a"}]))
        with Ledger.join(folder, Search(spaces[1], "random"), only=only) as second:
            rest = [claim.combination for claim in claim_all(second, register(second))[0]]
            assert second.search.space.digest() == spaces[0].digest()
            assert len(second.spaces()) == 1
        whole = set(spaces[0] if only is None else spaces[0].only(only))
        assert set(rest) == whole - set(drawn)
        other = Search(SearchSpace.from_config({"root": {**leaf, "values": [1, 2, 4]}}), "random")
        with pytest.raises(SearchChangedError):
            Ledger.join(folder, other)
