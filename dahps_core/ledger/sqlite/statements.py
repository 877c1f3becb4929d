"""The ledger's SQL, read from the `.sql` files beside this module."""

from __future__ import annotations

from importlib import resources


def statements(file_name: str) -> dict[str, str]:
    """Return the statements of a file by their `-- name:` lines, without comments."""
    text = resources.files(__package__).joinpath(file_name).read_text(encoding="utf-8")
    sections = (section.partition("\n") for section in text.split("-- name: ")[1:])
    return {name.strip(): _without_comments(body) for name, _, body in sections}


def _without_comments(body: str) -> str:
    # Python 3.10 takes no statement for a writing one that begins with a comment.
    return "\n".join(line for line in body.splitlines() if not line.lstrip().startswith("--")).strip()
