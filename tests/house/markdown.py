"""The Markdown documents of the repository, split into prose, headings and links."""

import itertools
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPO: Final = Path(__file__).resolve().parents[2]
_PARSER: Final = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Passage:
    """A run of prose without code: one paragraph, heading, list item or table cell."""

    path: Path
    line: int
    text: str

    @property
    def place(self) -> str:
        """Return ``path:line``, relative to the repository."""
        return f"{self.path.relative_to(REPO)}:{self.line}"


@dataclass(frozen=True)
class Link:
    """A link or image, with its target as written."""

    path: Path
    line: int
    target: str


def documents() -> list[Path]:
    """Return every Markdown file that git tracks or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(path for name in listed if (path := REPO / name).exists())


def _inlines(path: Path) -> Iterator[tuple[int, Token]]:
    for token in _PARSER.parse(path.read_text(encoding="utf-8")):
        if token.type == "inline" and token.map is not None:
            yield token.map[0] + 1, token


def passages(path: Path) -> Iterator[Passage]:
    """Yield the prose of a document; code spans become ``code``."""
    for line, token in _inlines(path):
        parts = []
        for child in token.children or ():
            if child.type == "text":
                parts.append(child.content)
            elif child.type == "code_inline":
                parts.append("code")
            elif child.type in {"softbreak", "hardbreak"}:
                parts.append(" ")
        yield Passage(path, line, "".join(parts))


def links(path: Path) -> Iterator[Link]:
    """Yield the links and images of a document."""
    for line, token in _inlines(path):
        for child in token.children or ():
            target = child.attrs.get("href") or child.attrs.get("src")
            if target:
                yield Link(path, line, str(target))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub forms them."""
    seen: Counter[str] = Counter()
    found = set()
    tokens = _PARSER.parse(path.read_text(encoding="utf-8"))
    for opening, token in itertools.pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(child.content for child in token.children or () if child.type in {"text", "code_inline"})
            anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
            seen[anchor] += 1
    return found
