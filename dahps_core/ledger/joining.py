"""Joining a ledger: comparing it with the requested search."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from sqlite3 import Row
from typing import Any

from dahps_core.errors import ConfigurationError, SearchChangedError
from dahps_core.ledger.claiming.bound_space import BoundSpace
from dahps_core.ledger.claiming.rungs import Rungs
from dahps_core.ledger.folder.ledger_folder import refuse_if_emptied
from dahps_core.ledger.sqlite.database import Database, Transaction
from dahps_core.ledger.sqlite.schema import is_empty, is_old, make_tables, upgrade
from dahps_core.ledger.sqlite.storage_errors import damaged, not_a_ledger, refusal
from dahps_core.ledger.views.spaces import space_of
from dahps_core.model.combination import Value
from dahps_core.space import SearchSpace
from dahps_core.space.conditions import read_conditions
from dahps_core.strategies import IN_ORDER, STRATEGIES
from dahps_core.strategies.brackets import Brackets
from dahps_core.strategies.search import Search

#: Of a reason that quotes a cell.
_LONGEST_REASON = 200

#: The id of no space.
_UNKNOWN = -1


def join(
    database: Database, requested: Search, only: Mapping[str, Value] | None, *, create: bool, extend: bool
) -> tuple[Search, BoundSpace]:
    """Bind to a ledger that is made now, or holds the requested search, or is extended to it.

    Args:
        database: The ledger's.
        requested: The requested search, shared by all its workers.
        only: The branch that this one draws from; None: all of it.
        create: Whether it is made where there is none.
        extend: Whether a changed space is added to it.

    Returns:
        The search with the ledger's seed, and the space that is drawn from: the search's, or the branch.

    Raises:
        SearchChangedError: The ledger holds another search.
    """
    if only is not None:
        requested.space.only(only)  # raises before anything is written

    # One writing transaction for all of it: of many processes that come at once, one makes the ledger.
    def join_or_make(transaction: Transaction) -> tuple[Search, SearchSpace, int]:
        # To SQLite a writer that may only read is a reader until it writes: in a job, hours later.
        if not os.access(database.path, os.W_OK):
            raise refusal(database.path, "it may not be written")
        if is_empty(transaction, database.path):
            if not create:
                raise not_a_ledger(database.path, "the ledger was removed")
            refuse_if_emptied(database.folder)
            _make(transaction, requested, database.locking)
        elif is_old(transaction):
            upgrade(transaction, database.path)
        kept, _ = _kept(transaction)
        space = _known(transaction, requested)
        space_id = _space_id(transaction, space)
        is_extended = extend or space_id is not None
        _refuse_changes(transaction, database.folder, kept, requested, space_may_differ=is_extended)
        if space_id is None:
            requested.refuse_levels_of_repetitions()  # those that older versions made continue
            space_id = _add_space(transaction, space)
        if only is not None:
            space_id = _branch_id(transaction, space.only(only))
        return kept, space, space_id

    kept, space, space_id = database.write(join_or_make)
    search = replace(kept, space=space)
    drawn = search if only is None else replace(search, space=space.only(only))
    return search, bound(drawn, space_id, only)


def bind_to_newest(database: Database) -> tuple[Search, BoundSpace]:
    """Bind to the latest space of an existing ledger."""

    def read(transaction: Transaction) -> tuple[Search, int] | None:
        if is_empty(transaction, database.path):
            raise not_a_ledger(database.path, "there is no ledger here")
        return None if is_old(transaction) else _kept(transaction)

    def upgrade_and_read(transaction: Transaction) -> tuple[Search, int]:
        if is_old(transaction):  # another process may have been faster
            upgrade(transaction, database.path)
        return _kept(transaction)

    search, space_id = database.read(read) or database.write(upgrade_and_read)
    return search, bound(search, space_id)


def bind_to_branch(transaction: Transaction, search: Search, only: Mapping[str, Value]) -> BoundSpace:
    """Bind to a search of one branch alone, whether or not a worker has ever drawn from it."""
    known = _space_id(transaction, search.space)
    return bound(search, _UNKNOWN if known is None else known, only)


def _make(transaction: Transaction, search: Search, locking: str) -> None:
    search.refuse_levels_of_repetitions()
    make_tables(transaction)
    seed = secrets.randbits(63) if search.seed is None else search.seed
    transaction.change(
        "insert_meta",
        now=time.time(),
        strategy=search.strategy,
        direction=search.direction,
        metric=search.metric,
        seed=str(seed),
        locking=locking,
        brackets=search.brackets.to_json() if search.brackets else None,
        is_uniform=int(not search.draws_by_level),
    )
    _add_space(transaction, search.space)


def search_of(meta: Row | Mapping[str, Any], space: Row | Mapping[str, Any]) -> Search:
    """Make the search that rows of a ledger describe.

    Raises:
        LedgerDamagedError: They have invalid contents.
    """
    try:
        kept = space_of(space)
        brackets = meta["brackets"] and Brackets.from_json(meta["brackets"])
        return Search(
            kept,
            meta["strategy"],
            meta["direction"],
            meta["metric"],
            int(meta["seed"]),
            brackets,
            bool(meta["is_uniform"]),
        )
    except (ValueError, TypeError, KeyError, ConfigurationError) as error:
        raise damaged(f"its search cannot be read: {str(error)[:_LONGEST_REASON]}") from error


def bound(search: Search, space_id: int, only: Mapping[str, Value] | None = None) -> BoundSpace:
    """Bind the space to the order of its strategy and seed; `only`: as a branch of another one."""
    assert search.seed is not None
    order = STRATEGIES[search.strategy](search.space.size, search.seed)
    rungs = Rungs(search.brackets, search.direction) if search.brackets else None
    seed = search.seed if search.draws_by_level else None
    allowed = None if only is None else read_conditions(only)
    return BoundSpace(space_id, search.space, order, allowed, rungs, seed)


def _kept(transaction: Transaction) -> tuple[Search, int]:
    meta, newest = transaction.row("meta"), transaction.row("newest_space")
    if meta is None or newest is None:
        raise damaged("its search is missing")
    return search_of(meta, newest), newest["id"]


def _space_id(transaction: Transaction, space: SearchSpace) -> int | None:
    found = transaction.value("space_by_digest", digest=space.digest())
    return None if found is None else int(found)


def _known(transaction: Transaction, requested: Search) -> SearchSpace:
    """Return the requested space, in the ledger's order if the strategy has its own."""
    if requested.strategy not in IN_ORDER and _space_id(transaction, requested.space) is None:
        for row in transaction.rows("spaces"):
            if (space := space_of(row)).has_combinations_of(requested.space):
                return space
    return requested.space


def _branch_id(transaction: Transaction, branch: SearchSpace) -> int:
    found = _space_id(transaction, branch)
    return _add_space(transaction, branch, is_branch=True) if found is None else found


def _add_space(transaction: Transaction, space: SearchSpace, *, is_branch: bool = False) -> int:
    transaction.change(
        "insert_space",
        digest=space.digest(),
        definition=json.dumps(space.definition()),
        now=time.time(),
        is_branch=int(is_branch),
    )
    return int(transaction.value("space_by_digest", digest=space.digest()) or 0)


def _refuse_changes(
    transaction: Transaction, folder: Path, kept: Search, requested: Search, *, space_may_differ: bool
) -> None:
    settings = kept.differences_of_settings(requested)
    spaces = []
    if not space_may_differ:
        spaces = kept.space.differences(requested.space) or ["the space is a different one"]
    if not settings and not spaces:
        return
    ways = "Give another ledger folder (a script's path, or hydra.sweeper.ledger=FOLDER)"
    if not settings:
        ways += (
            ", or add the new space to this ledger "
            "(a script's on_change='extend', or hydra.sweeper.on_change=extend)"
        )
    if not transaction.value("any_finished"):
        ways += ", or remove this one: nothing has finished in it"
    lines = "".join(f"\n  {change}" for change in settings + spaces)
    raise SearchChangedError(
        f"the ledger holds another search:{lines}\nNothing was changed", where=str(folder), hint=ways
    )
