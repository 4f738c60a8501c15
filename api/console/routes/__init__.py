"""The routes of the console, one module per page."""

from __future__ import annotations

from typing import Final

from api.console.routes import (
    assets,
    case_accounts,
    cases,
    customers,
    feed,
    jobs,
    login,
    models,
    oidc,
    operations,
    proposals,
    rules,
)

_PAGES: Final = (assets, login, oidc, cases, case_accounts, customers, feed, operations, rules, models, proposals, jobs)
ROUTERS: Final = tuple(module.router for module in _PAGES)
