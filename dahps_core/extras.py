"""Packages that only some commands need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dahps_core.errors import ConfigurationError


@contextmanager
def from_extra(name: str) -> Iterator[None]:
    """Imports that need one of the package's extras.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{error.name} is not installed", mend=f"Run: pip install 'dahps[{name}]'"
        ) from error
