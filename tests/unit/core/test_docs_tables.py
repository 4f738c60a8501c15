"""The documentation shows the tables of the code."""

from pathlib import Path

import pytest

from flink_jobs import docs_tables
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.rules import RULES
from flink_jobs.docs_tables import (
    documents,
    feature_table_markdown,
    main,
    redrive_table_markdown,
    rule_table_markdown,
    tables_of,
    with_tables,
)
from flink_jobs.errors import UserError

EMPTY = (
    "# a\n<!-- rules:begin -->\noutdated\n<!-- rules:end -->\nb\n<!-- features:begin -->\n<!-- features:end -->\nc\n"
)
BOTH = "rules", "features"


def test_the_documentation_holds_the_tables_of_the_code() -> None:
    """Each that exists has its tables; a file without the markers fails here."""
    found = documents()
    assert len(found) == len(docs_tables.DOCUMENTS)
    for path in found:
        text = path.read_text(encoding="utf-8")
        assert with_tables(text, path.name, tables_of(path)) == text, f"{path.name}: run `{docs_tables.COMMAND}`"


def test_the_tables_name_everything() -> None:
    rules, features = rule_table_markdown(), feature_table_markdown()
    assert rules.count("\n") == 2 + len(RULES)
    assert features.count("\n") == 2 + len(FEATURE_NAMES)
    for rule in RULES:
        assert f"| `{rule.id}` | `{rule.code.value}` |" in rules
        assert rule.rationale in rules
    for name in FEATURE_NAMES:
        assert f"| `{name}` |" in features
    redrives = redrive_table_markdown()
    assert all(f"`{reason}`" in redrives for reason in DeadLetterReason)
    assert "`amount_zscore` ≥ 3 standard deviations" in rules


def test_text_around_the_markers_stays_and_writing_twice_changes_nothing() -> None:
    once = with_tables(EMPTY, "x.md", BOTH)
    assert once.startswith("# a\n<!-- rules:begin -->\n| Rule |")
    assert once.endswith("|\n<!-- features:end -->\nc\n")
    assert "outdated" not in once
    assert with_tables(once, "x.md", BOTH) == once


@pytest.mark.parametrize(
    "text",
    [
        "no markers",
        EMPTY.replace("<!-- rules:end -->", ""),
        EMPTY + EMPTY,
        "<!-- rules:end --><!-- rules:begin --><!-- features:begin --><!-- features:end -->",
    ],
)
def test_a_document_without_its_markers_is_an_error_that_says_what_to_do(text: str) -> None:
    with pytest.raises(UserError, match=r"x\.md does not hold <!-- rules:begin -->"):
        with_tables(text, "x.md", BOTH)


def test_compare_then_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "rules.md").write_text(EMPTY, encoding="utf-8")
    monkeypatch.setattr(docs_tables, "documents", lambda: documents(tmp_path))
    assert main([]) == 1
    assert "rules.md: a table differs from the code; run: python -m" in capsys.readouterr().err
    assert main(["--write"]) == 0
    assert main([]) == 0
    assert main(["--help"]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_folder_without_documentation_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none of docs/rules\.md, docs/operate\.md"):
        documents(tmp_path)
