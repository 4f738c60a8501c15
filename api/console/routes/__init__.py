"""The routes of the console, one module per page."""

from __future__ import annotations

from typing import Final

from api.console.routes import assets, cases, login

ROUTERS: Final = (assets.router, login.router, cases.router)
