"""The routes of the console, one module per page."""

from __future__ import annotations

from typing import Final

from api.console.routes import assets, cases, customers, feed, login, operations, proposals, rules

ROUTERS: Final = tuple(
    module.router for module in (assets, login, cases, customers, feed, operations, rules, proposals)
)
