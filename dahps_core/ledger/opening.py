"""Making a ledger, recognizing one, and holding it against the search that is asked for."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import replace
from pathlib import Path

from dahps_core.errors import LedgerUnavailableError, LedgerVersionError, SearchChangedError
from dahps_core.ledger.claiming import BoundSpace
from dahps_core.ledger.connection import Database, Transaction, not_a_ledger
from dahps_core.ledger.search import Search
from dahps_core.ledger.statements import statements
from dahps_core.space import SearchSpace
from dahps_core.strategies import STRATEGIES

APPLICATION_ID = 0x44414850  # "DAHP", in the file's header
SCHEMA_VERSION = 1


def join(database: Database, asked: Search, *, extend: bool) -> tuple[Search, BoundSpace]:
    """Bind to a ledger that is made now, or holds the search that is asked for, or is extended to it.

    Returns:
        The search with the ledger's seed, and the space that it draws from.

    Raises:
        SearchChangedError: The ledger holds another search.
    """
    # One writing transaction for all of it: of many processes that come at once, one makes the ledger.
    with database.writing() as transaction:
        if _is_empty(transaction, database.path):
            _make(transaction, asked)
        kept, _ = _kept(transaction)
        space_id = _space_id(transaction, asked.space)
        _refuse_changes(database.path, kept, asked, space_may_differ=extend or space_id is not None)
        if space_id is None:
            space_id = _add_space(transaction, asked.space)
    return _bound(replace(kept, space=asked.space), space_id)


def bind_to_newest(database: Database) -> tuple[Search, BoundSpace]:
    """Bind to the space that was added last to a ledger that is there."""
    with database.reading() as transaction:
        if _is_empty(transaction, database.path):
            raise not_a_ledger(database.path, "there is no ledger here")
        return _bound(*_kept(transaction))


def _is_empty(transaction: Transaction, path: Path) -> bool:
    application_id = transaction.value("application_id")
    # To SQLite a file of a few bytes is an empty database; to whoever wrote it, it is not.
    if application_id == 0 and transaction.value("n_tables") == 0 and path.stat().st_size == 0:
        return True
    if application_id != APPLICATION_ID:
        raise not_a_ledger(path, "the database is not a ledger")
    version = transaction.value("schema_version")
    if version != SCHEMA_VERSION:
        raise LedgerVersionError(
            f"the ledger has schema {version}, this DAHPS writes schema {SCHEMA_VERSION}",
            where=str(path),
            mend="Use the version of DAHPS that made it, or another ledger folder",
        )
    if transaction.value("journal_mode") == "wal":
        raise LedgerUnavailableError(
            "the ledger is in WAL mode, which cannot work across hosts",
            where=str(path),
            mend="While nobody uses it, run: sqlite3 ledger.db 'PRAGMA journal_mode = DELETE'",
        )
    return False


def _make(transaction: Transaction, search: Search) -> None:
    for statement in statements("schema.sql").values():
        transaction.execute(statement)
    # A PRAGMA takes no parameters; both numbers are constants of ours.
    transaction.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    transaction.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    seed = secrets.randbits(63) if search.seed is None else search.seed
    transaction.change(
        "insert_meta",
        now=time.time(),
        strategy=search.strategy,
        direction=search.direction,
        metric=search.metric,
        seed=str(seed),
    )
    _add_space(transaction, search.space)


def _kept(transaction: Transaction) -> tuple[Search, int]:
    meta = transaction.rows("meta")[0]
    newest = transaction.rows("newest_space")[0]
    space = SearchSpace.from_definition(json.loads(newest["definition"]))
    search = Search(space, meta["strategy"], meta["direction"], meta["metric"], int(meta["seed"]))
    return search, newest["id"]


def _space_id(transaction: Transaction, space: SearchSpace) -> int | None:
    found = transaction.value("space_by_digest", digest=space.digest())
    return None if found is None else int(found)


def _add_space(transaction: Transaction, space: SearchSpace) -> int:
    definition = json.dumps(space.definition())
    transaction.change("insert_space", digest=space.digest(), definition=definition, now=time.time())
    return int(transaction.rows("newest_space")[0]["id"])


def _bound(search: Search, space_id: int) -> tuple[Search, BoundSpace]:
    assert search.seed is not None
    order = STRATEGIES[search.strategy](search.space.size, search.seed)
    return search, BoundSpace(space_id, search.space, order)


def _refuse_changes(path: Path, kept: Search, asked: Search, *, space_may_differ: bool) -> None:
    changes = kept.differences_of_settings(asked)
    ways = "Give another ledger folder (hydra.sweeper.ledger=FOLDER)"
    if not space_may_differ:
        if not changes:
            ways += ", or add the new space to this ledger (hydra.sweeper.on_change=extend)"
        changes += kept.space.differences(asked.space) or ["the space is another one"]
    if changes:
        lines = "".join(f"\n  {change}" for change in changes)
        raise SearchChangedError(
            f"the ledger holds another search:{lines}\nNothing was changed", where=str(path), mend=ways
        )
