"""Whatever stands in a cell of a ledger: every command shows it, or says in one line what is damaged."""

import re
import shutil
import sqlite3
from contextlib import closing, contextmanager, suppress
from itertools import cycle, product

import pytest
from ledger_support import REPORTS, claimed, ending_of, fail, finish, levelled, register, release, space_of

from dahps_core.cli import main
from dahps_core.errors import DahpsError
from dahps_core.ledger import FILE_NAME, Ledger, Search
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.ledger.repair.check import violations
from dahps_core.ledger.sqlite.row_types import TABLES
from dahps_core.model.records import TrialState

#: What nobody writes in most columns.
VALUES = {
    "null": None,
    "blob": b"\x00\xff",
    "text": "\x1b[31m\n\u202e",
    "nul": "a\0b",
    "negative": -1,
    "small": 7,
    "large": 2**62,
    "endless": 1e300,
    "deep": "[" * 100_000,
    "mapping": '{"x": {}, "\\ud800": NaN}',
}
#: Bytes that are no UTF-8, as text.
NO_UTF8 = "CAST(x'80ff' AS TEXT)"


def make_levelled(folder):
    with Ledger.join(folder, levelled(30)) as ledger:
        worker = register(ledger, job="7", log=str(folder / "job.log"))
        for n in range(14):
            claim = claimed(ledger, worker)
            reports = REPORTS if n % 2 else ()
            ledger.end_if_held(ending_of(claim, result=n / 7, metric=n / 7, reports=reports))
        fail(ledger, claimed(ledger, worker))
        release(ledger, claimed(ledger, worker))
        claimed(ledger, worker)
        Heart(folder, worker).beat()
        ledger.pause()


def make_repeated(folder):
    search = Search(space_of(*range(8), repetitions=2), strategy="grid", seed=0)
    with Ledger.join(folder, search) as ledger:
        worker, other = register(ledger), register(ledger, run="other")
        for n in range(6):
            ledger.end_if_held(
                ending_of(claimed(ledger, worker), result=n / 7, metric=n / 7, reports=REPORTS)
            )
        fail(ledger, claimed(ledger, worker))
        ledger.enqueue([{"x": 7}])
        finish(ledger, claimed(ledger, worker))
        ledger.cancel(claimed(ledger, other).number)
        claimed(ledger, worker)
    with Ledger.join(folder, Search(space_of(*range(9), repetitions=2), "grid", seed=0), on_change="extend"):
        pass


def made(make, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "ledger"
    make(folder)
    assert list(violations(folder)) == []
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A ledger with a row in each table."""
    return made(make_levelled, tmp_path_factory)


@pytest.fixture(scope="module")
def repeated(tmp_path_factory):
    """A ledger with repetitions, a trial that a person asked for, and two spaces."""
    return made(make_repeated, tmp_path_factory)


def rows_of(connection, table):
    """Conditions that choose the first row of a table, and the last."""
    keys = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
    rows = connection.execute(f"SELECT {', '.join(f'quote({key})' for key in keys)} FROM {table}").fetchall()
    for row in [rows[0], rows[-1]] if len(rows) > 1 else rows:
        yield " AND ".join(f"{key} = {value}" for key, value in zip(keys, row, strict=True))


@contextmanager
def written_to(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA writable_schema = ON")
        yield connection


def damage(folder, table, column, value):
    """Write a value into a cell of a table's first row, and of its last; past all that the schema says."""
    path, changed = folder / FILE_NAME, 0
    with written_to(path) as connection:
        schema = connection.execute("SELECT sql, name, type FROM sqlite_master WHERE sql NOT NULL").fetchall()
        for sql, name, kind in schema:
            if kind == "trigger":
                connection.execute(f"DROP TRIGGER {name}")
            elif name == table:
                anything = re.sub("(TEXT|INTEGER|REAL) NOT NULL", r"\1", sql)
                connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (anything, name))
    with written_to(path) as connection:  # which reads the schema anew
        for row in list(rows_of(connection, table)):
            with suppress(sqlite3.IntegrityError):  # it is unique, or a number that SQLite itself needs
                new, parameters = (NO_UTF8, ()) if value is NO_UTF8 else ("?", (value,))
                statement = f"UPDATE {table} SET {column} = {new} WHERE {row}"
                changed += connection.execute(statement, parameters).rowcount
        for sql, name, kind in schema:
            if kind == "trigger":
                connection.execute(sql)
            elif name == table:
                connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (sql, name))
    return changed


LOOKS = [
    *(["status"], ["status", "--json"], ["best"], ["trials"], ["trials", "--sort", "metric"], ["space"]),
    *(["trials", "--format", "json"], ["show", "0"], ["show", "13"], ["logs", "0"]),
]


def run(folder, words, capsys):
    """A command's exit status; no traceback, and one line if it is refused."""
    status = main([words[0], str(folder), *words[1:]])
    told = capsys.readouterr()
    assert status in (0, 1), told.err
    if told.err:
        assert told.err.startswith("dahps: ")
        assert told.err[:-1].isprintable(), told.err
    return status


def results(folder):
    with Ledger.open(folder) as ledger:
        return {one.number: one.metric for one in ledger.trials() if one.state is TrialState.FINISHED}


@pytest.mark.parametrize("table", TABLES)
def test_no_cell_ends_a_command_in_a_traceback(whole, tmp_path, capsys, table):
    """The commands take turns: each sees each column of some damage."""
    turns = cycle(LOOKS)
    for column, (name, value) in product(TABLES[table], {**VALUES, "no utf-8": NO_UTF8}.items()):
        folder = tmp_path / f"{column}-{name}"
        shutil.copytree(whole, folder)
        if damage(folder, table, column, value):
            run(folder, next(turns), capsys)
            run(folder, ["check"], capsys)
            with suppress(DahpsError), Ledger.open(folder, patience_s=0.0) as ledger:
                list(ledger.trials())
                list(ledger.attempts_among(range(ledger.n_drawn)))
        shutil.rmtree(folder)


#: Without these nothing says what the trials are of.
NEEDED = {
    *(("meta", column) for column in ("id", "strategy", "direction", "metric", "seed", "brackets")),
    *(("space", column) for column in ("id", "digest", "definition")),
}


#: What is not known of a trial without these: of one that a person asked for, or of one at a level.
CERTAIN = {("trial", "combination"), ("trial", "repetition"), ("trial", "level")}


@pytest.mark.parametrize("kind", ["whole", "repeated"])
@pytest.mark.parametrize("table", TABLES)
def test_check_lists_a_cell_of_the_wrong_type_and_recover_saves_every_result(
    request, tmp_path, capsys, table, kind
):
    whole = request.getfixturevalue(kind)
    for column in TABLES[table]:
        folder, new = tmp_path / column / "ledger", tmp_path / column / "ledger.recovered"
        shutil.copytree(whole, folder)
        if not damage(folder, table, column, b"\0\xff"):
            continue
        words = "refers to a missing row of trial" if column == "trial" else f"{column} is b'"
        assert any(words in violation for violation in violations(folder))
        saved = run(folder, ["recover"], capsys) == 0
        assert saved == ((table, column) not in NEEDED)
        if saved:
            assert list(violations(new)) == []
            kept, was = results(new), results(whole)
            assert kept == was if (table, column) not in CERTAIN else kept.items() <= was.items()


@pytest.mark.parametrize(
    ("table", "column"),
    [("trial", "started_at"), ("trial", "ended_at"), ("worker", "started_at"), ("attempt", "ended_at")],
)
@pytest.mark.parametrize("value", [1e300, float("inf"), -1.0])
def test_a_time_that_no_clock_shows_is_named(whole, tmp_path, capsys, table, column, value):
    folder = shutil.copytree(whole, tmp_path / "ledger")
    if damage(folder, table, column, value):
        assert any(f"{column} is {value!r}, not a time" in violation for violation in violations(folder))
        for words in (["status"], ["show", "0"], ["trials"], ["report", "-o", str(tmp_path / "report.html")]):
            run(folder, words, capsys)
