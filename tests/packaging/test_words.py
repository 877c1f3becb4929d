"""Messages, docstrings, comments and pages use plain words: none that a person has to decode."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BANNED = re.compile(
    r"\b(whoever|whom|of ours|so many|as it stands|the one that|another one than|so manieth"
    r"|mends?|mended|tells?|told|telling|hears?|heard|held for (dead|lost)|signs? of life|obituar(y|ies)"
    r"|c[ao]me to nothing|cannot be meant|in vain|anew|goes on|somebody|nobody)\b",
    re.IGNORECASE,
)
SOURCES = [path for top in ("dahps_core", "hydra_plugins") for path in sorted((ROOT / top).rglob("*.py"))]
PAGES = [
    ROOT / "README.md",
    *(ROOT / ".github").rglob("*.md"),
    *(page for top in ("dahps_core", "hydra_plugins") for page in sorted((ROOT / top).rglob("*.md"))),
]
TEXT = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def prose(path):
    """The line and the text of each comment and string; f-strings without their expressions."""
    source = path.read_text()
    if path.suffix == ".md":
        return [(1, source)]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [(one.start[0], re.sub(r"\{[^{}]*\}", "", one.string)) for one in tokens if one.type in TEXT]


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_word_has_to_be_decoded(path):
    found = [f"{line}: {match.group()}" for line, text in prose(path) for match in BANNED.finditer(text)]
    assert found == [], "see Words in .github/CONTRIBUTING.md"
