"""The configs that a ledger's trials are made of, kept beside it: a change of them is another search."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from dahps_core.errors import LedgerDamagedError, SearchChangedError
from dahps_core.ledger.sqlite.storage_errors import put_in_place, refused
from dahps_core.text.small_files import read_json

#: The folder in the ledger's; in it 0, 1, ...: the newest one counts.
FOLDER = "configs"
_FILE = "configs.json"

#: A config's name -> its keys -> their values.
Configs: TypeAlias = Mapping[str, Mapping[str, Any]]


def keep_configs(folder: Path, configs: Configs, *, extend: bool) -> tuple[int, list[str]]:
    """Keep the configs with a ledger whose trials have none yet, or the same.

    Args:
        folder: The ledger's.
        configs: JSON's values.
        extend: Whether other configs may follow the existing ones.

    Returns:
        The number that they are kept under, and their differences to those before, a line for each.

    Raises:
        SearchChangedError: There are some, and they may not.
        LedgerUnavailableError: The storage refused.
    """
    place = folder / FOLDER
    try:
        while True:
            newest = _newest(place)
            changes = [] if newest is None else list(_differences(_read(place / str(newest)), configs))
            if changes and not extend:
                lines = "\n  ".join(changes)
                raise SearchChangedError(
                    f"the ledger's trials used other configs:\n  {lines}\nNothing was run",
                    where=str(folder),
                    hint="Put them back, give another ledger folder (hydra.sweeper.ledger=FOLDER), or "
                    "continue in this one with the current configs (hydra.sweeper.on_change=extend)",
                )
            if newest is not None and not changes:
                return newest, []
            number = 0 if newest is None else newest + 1
            if _add(place, number, configs):
                return number, changes
    except OSError as error:
        raise refused(place, error) from error


def n_configs(folder: Path) -> int:
    """Return how many times the configs of a ledger's trials were others than before; 1 if never."""
    with suppress(OSError):
        return (_newest(folder / FOLDER) or 0) + 1
    return 1


def path_of_configs(folder: Path, number: int) -> Path:
    """Return the file in which the configs of some trials can be read."""
    return folder / FOLDER / str(number) / _FILE


def keep_sources(folder: Path, sources: Any) -> str | None:
    """Keep all that a multirun has read of configs, once for all multiruns that read the same.

    Args:
        folder: The ledger's.
        sources: JSON's values.

    Returns:
        The name that they are kept under; None if the storage refuses.
    """
    text = json.dumps(sources)
    name = sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
    path = _sources(folder, name)
    with suppress(OSError):
        if not path.exists():
            put_in_place(path, text)
        return name
    return None


def kept_sources(folder: Path, name: str | None) -> Any:
    """Return what `keep_sources` has kept under a name; None if that is not known, or is gone."""
    with suppress(OSError, ValueError):
        return None if name is None else read_json(_sources(folder, name))
    return None


def _sources(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"sources-{name}.json"


def _newest(place: Path) -> int | None:
    numbers = [int(name) for name in os.listdir(place) if name.isdecimal()] if place.is_dir() else []
    return max(numbers, default=None)


def _read(place: Path) -> Configs:
    path = place / _FILE
    try:
        configs = read_json(path)
        return {str(name): dict(says) for name, says in configs.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise LedgerDamagedError(
            f"the configs that were kept cannot be read ({error})", where=str(path), hint="Remove its folder"
        ) from error


def _add(place: Path, number: int, configs: Configs) -> bool:
    """Return whether this process was the first to take the number: a non-empty folder is never replaced."""
    half = place / f"half-{secrets.token_hex(4)}"
    try:
        half.mkdir(parents=True)
        (half / _FILE).write_text(json.dumps(configs, indent=1))
        os.rename(half, place / str(number))
    except OSError:
        shutil.rmtree(half, ignore_errors=True)
        if not (place / str(number)).exists():
            raise
        return False
    return True


def _differences(old: Configs, new: Configs) -> Iterator[str]:
    """Yield a line for each key that differs, in the configs that both have."""
    for name in old.keys() & new.keys():
        before, after = ({key: json.dumps(value) for key, value in one[name].items()} for one in (old, new))
        for key in dict.fromkeys([*before, *after]):
            if key not in before:
                yield f"{name}: {key}: added, {after[key]}"
            elif key not in after:
                yield f"{name}: {key}: removed, it was {before[key]}"
            elif before[key] != after[key]:
                yield f"{name}: {key}: {before[key]} became {after[key]}"
