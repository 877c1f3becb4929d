"""The checks in their order, and the process that makes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing.connection import Connection

from dahps_core.doctor.costs import Costing, Inserting, Verifying
from dahps_core.doctor.creation import Creating, Owning
from dahps_core.doctor.locks import Counting, Excluding, Summing
from dahps_core.doctor.meeting import ended_by_another
from dahps_core.doctor.member import Check, Member
from dahps_core.doctor.seeing import Seeing
from dahps_core.doctor.storage import unavailable
from dahps_core.errors import DahpsError
from dahps_core.process.linux import die_with

#: A check's preparation is seen by all when the one before it has ended.
CHECKS: tuple[type[Check], ...] = (
    Excluding,
    Counting,
    Summing,
    Creating,
    Owning,
    Seeing,
    Costing,
    Inserting,
    Verifying,
)


def take_part(parent: int, make_member: Callable[[], Member], answers: Connection) -> None:
    """Make all checks; the answer is None, or the error that ended it.

    Runs in a process of its own, which ends with its parent.
    """
    die_with(parent)
    os.setpgid(0, 0)  # so that whatever it starts can be ended with it
    me = make_member()
    error: DahpsError | None = None
    try:
        _check(me)
    except DahpsError as caught:
        error = caught
    except OSError as caught:
        error = unavailable(caught, me.folder.parent) if me.folder.exists() else ended_by_another(me.folder)
    answers.send(error)


def _check(me: Member) -> None:
    checks = [check(me) for check in CHECKS]
    checks[0].make_ready()
    me.meet("prepared")
    for check, following in zip(checks, [*checks[1:], None], strict=True):
        found = check.findings()
        if following:
            following.make_ready()
        me.meet(check.name, found)
