"""The architecture page lists every package of the layers contract, in its order."""

import re
import tomllib
from typing import Final

from tests.house.markdown import REPO

PAGE: Final = REPO / "docs" / "architecture.md"


def layers() -> list[set[str]]:
    """Return the packages of the layers contract, top to bottom, one set per layer."""
    settings = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (contract,) = [item for item in contracts if item["id"] == "layers"]
    return [{name.strip() for name in layer.split(":")} for layer in contract["layers"]]


def listed_packages() -> list[str]:
    """Return the packages of the page's table, top to bottom."""
    table = PAGE.read_text(encoding="utf-8").partition("<!-- layers:begin -->")[2].partition("<!-- layers:end -->")[0]
    first_cells = [line.split("|")[1] for line in table.strip().splitlines()[2:]]
    return [name for cell in first_cells for name in re.findall(r"`([\w.]+)`", cell)]


def test_the_page_lists_the_packages_of_the_layers_contract_in_order() -> None:
    packages = listed_packages()
    expected = layers()
    assert len(expected) > 10
    start = 0
    for layer in expected:
        assert set(packages[start : start + len(layer)]) == layer
        start += len(layer)
    assert start == len(packages)
