"""Reading a mapping of any class."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from dahps_core.errors import Fault
from dahps_core.space.path import Path


def entries(mapping: Mapping[Any, Any], path: Path, faults: list[Fault]) -> dict[Any, Any] | None:
    """Return the entries of a mapping; None, and a fault, if its class raises instead, as
    OmegaConf's does.
    """
    try:
        return {name: mapping[name] for name in mapping}
    except Exception as error:
        reason = " ".join("".join(traceback.format_exception_only(error)).split())
        faults.append(Fault(str(path), f"cannot be read ({reason[:200]})", "write a plain mapping"))
        return None
