"""How an attempt ended, and the line of JSON that reports it, which its reader checks."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dahps_core.errors import DahpsError
from dahps_core.model.combination import Value
from dahps_core.process.shutdown import Terminated
from dahps_core.text.json_text import parse_json

#: Length limit of an error, in characters: its beginning and its end are kept.
LONGEST_ERROR = 100_000
#: The longest line that reports an answer, in bytes.
MAX_BYTES = 16 * 2**20
#: Levels of lists and mappings in a result: more than `read_anything` lets through.
_MAX_DEPTH = 100
#: The outcome that a KeyboardInterrupt is reported by: it may be a signal to the whole job.
INTERRUPTED = "interrupted"
_OUTCOMES = ("finished", "failed", "died", INTERRUPTED)


@dataclass(frozen=True)
class Answer:
    """How an attempt ended.

    Attributes:
        outcome: As in `Ending`: "died" if it was ended from outside (SIGKILL), which says nothing of it.
        result: What it returned, if it finished.
        metric: The objective in the result.
        error: The traceback, or how the process died.
    """

    outcome: str
    result: Value = None
    metric: float | None = None
    error: str | None = None


def answer_of(function: Callable[[], tuple[Value, float | None]]) -> Answer:
    """Call `function`, which returns a result and its metric, and return how it ended.

    Raises:
        KeyboardInterrupt, Terminated: Possibly a request to the process to end.
    """
    try:
        result, metric = function()
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:
        return Answer("failed", error=reason(error))
    return Answer("finished", result, metric)


def reason(error: BaseException) -> str:
    """Return why an attempt failed, for people: the traceback, or the message alone of a `DahpsError`."""
    is_ours = isinstance(error, DahpsError)
    try:
        text = str(error) if is_ours else "".join(traceback.format_exception(error)).rstrip()
    except Exception:  # what an error says of itself is the trial's code as well
        text = f"{type(error).__qualname__}, which cannot be shown"
    half = LONGEST_ERROR // 2
    return text if len(text) <= LONGEST_ERROR else f"{text[:half]}\n[...]\n{text[-half:]}"


def line_of(answer: Answer) -> bytes:
    """Return the line that reports an answer, or that this one cannot be reported."""
    try:
        line = json.dumps(vars(answer)).encode()
    except Exception as error:
        return line_of(Answer("failed", error=reason(error)))
    if len(line) > MAX_BYTES:
        what = f"the trial's result takes {len(line):,} bytes; the limit is {MAX_BYTES:,}. Save it to a file"
        return line_of(Answer("failed", error=what))
    return line + b"\n"


def read_answer(line: bytes) -> Answer:
    """Return the answer that a line reports.

    Raises:
        ValueError: It reports none.
    """
    return checked_answer(parse_json(line.decode()))


def checked_answer(fields: Any) -> Answer:
    """Return the answer with these fields; raises ValueError where they are no answer's."""
    try:
        answer = Answer(**fields)
        metric = None if answer.metric is None else float(answer.metric)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"no answer: {error}") from None
    is_readable = answer.outcome in _OUTCOMES and isinstance(answer.error, str | None)
    if not is_readable or isinstance(answer.metric, str) or not _is_within(answer.result, _MAX_DEPTH):
        raise ValueError("no answer")
    return Answer(answer.outcome, answer.result, metric, answer.error)


def _is_within(value: Value, depth: int) -> bool:
    if not isinstance(value, (list, dict)):
        return True
    parts = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_within(part, depth - 1) for part in parts)
