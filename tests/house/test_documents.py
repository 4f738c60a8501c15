"""Checks of all Markdown documents: links, placeholders, words and style."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from proselint.checks import __register__ as proselint_checks
from proselint.config import DEFAULT
from proselint.registry import CheckRegistry
from proselint.tools import LintFile

from tests.house.markdown import REPO, anchors, documents, links, passages

PAGES = documents()
STYLE = REPO / "docs" / "style.md"
# Typography, and checks that technical text triggers by design: units, table cells, quoted words.
UNUSED_CHECKS = (
    "typography",
    "lexical_illusions",
    "dates_times",
    "misc",
    "hedging",
    "social_awareness",
    "skunked_terms",
)
PLACEHOLDER = re.compile(r"\b(TODO|FIXME|TBD|XXX|TKTK|PLACEHOLDER|lorem ipsum)\b|^\s*[A-Z]{4,}\s*$")


def refused_words() -> dict[str, str]:
    """Return the word list of the style page: refused phrase to replacement."""
    table = STYLE.read_text(encoding="utf-8").partition("<!-- words:begin -->")[2].partition("<!-- words:end -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    return {row[0]: row[1] for row in rows}


CheckRegistry().register_many(proselint_checks)


@cache
def anchors_of(path: Path) -> frozenset[str]:
    return frozenset(anchors(path))


def test_there_are_documents_and_words_to_check() -> None:
    assert len(PAGES) > 30
    assert len(refused_words()) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPO)))
def test_every_local_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in links(page):
        if re.match(r"[a-z]+:", link.target):
            continue
        name, _, anchor = unquote(link.target).partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            broken.append(f"line {link.line}: no file {link.target}")
        elif anchor and target.suffix == ".md" and anchor not in anchors_of(target):
            broken.append(f"line {link.line}: no heading {link.target}")
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPO)))
def test_no_document_holds_a_placeholder(page: Path) -> None:
    found = [passage.place for passage in passages(page) if page != STYLE and PLACEHOLDER.search(passage.text)]
    assert not found


@pytest.mark.parametrize("text", ["Measured: TODO.", "RATES", "TBD"])
def test_the_placeholder_check_finds_placeholders(text: str) -> None:
    assert PLACEHOLDER.search(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPO)))
def test_documents_use_the_words_of_the_style_page(page: Path) -> None:
    if page == STYLE:
        return
    words = refused_words()
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, words))})\b", re.IGNORECASE)
    found = [
        f"{passage.place}: {match[0]!r}, write: {words[match[0].lower()]}"
        for passage in passages(page)
        for match in pattern.finditer(passage.text)
    ]
    assert not found


def _style_faults(text: str) -> list[str]:
    checks = {name: on and name not in UNUSED_CHECKS for name, on in DEFAULT["checks"].items()}
    found = LintFile("passage", text).lint({"max_errors": 1000, "checks": checks})
    return [f"{item.check_result.check_path}: {item.check_result.message}" for item in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPO)))
def test_documents_pass_the_style_lint(page: Path) -> None:
    if page == STYLE:
        return
    found = [
        f"{passage.place}: {fault}"
        for passage in passages(page)
        if passage.text
        for fault in _style_faults(passage.text)
    ]
    assert not found


def test_the_style_lint_finds_faults() -> None:
    assert _style_faults("This is a very unique and free gift.")
