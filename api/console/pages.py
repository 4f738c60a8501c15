"""Renders the pages of the console from their templates."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.console.roles import Permission
from api.console.sessions import Session
from flink_jobs.core.currencies import MINOR_UNITS
from flink_jobs.reports.styles import SHARED

_FOLDER: Final = Path(__file__).parent
ASSETS: Final = {
    path.name: path.read_bytes()
    for path in sorted((_FOLDER / "assets").iterdir())
    if path.suffix in {".css", ".js", ".svg"}
} | {"shared.css": SHARED.encode()}
"""The files that pages load, by name; the reports have ``shared.css``, too."""
VERSIONS: Final = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in ASSETS.items()}
"""The start of each file's digest; it is in the address, so that a browser never uses the file of another release."""
_MOST_DECIMALS: Final = 4


def money(amount_minor: float, currency: str) -> str:
    """Return an amount for readers.

    >>> money(123456, "USD"), money(1999, "JPY"), money(5, "XXX")
    ('1,234.56 USD', '1,999 JPY', '5 XXX (minor units)')
    """
    units = MINOR_UNITS.get(currency)
    if units is None:
        return f"{amount_minor:,.0f} {currency} (minor units)"
    decimals = min(_MOST_DECIMALS, len(f"{units:.0f}") - 1)
    return f"{amount_minor / units:,.{decimals}f} {currency}"


def moment(value: datetime | int | None) -> str:
    """Return a time in UTC for readers; milliseconds since the epoch are a time, too.

    >>> moment(1_700_000_000_000), moment(None)
    ('2023-11-14 22:13', 'never')
    """
    if value is None:
        return "never"
    at = datetime.fromtimestamp(value / 1_000, UTC) if isinstance(value, int) else value.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M}"


def duration(minutes: float) -> str:
    """Return a duration for readers.

    >>> duration(42.4), duration(150), duration(4_000)
    ('42 minutes', '2.5 hours', '2.8 days')
    """
    for unit, length in (("days", 1_440), ("hours", 60)):
        if minutes >= 2 * length:
            return f"{minutes / length:,.1f} {unit}"
    return f"{minutes:,.0f} minutes"


def _asset(name: str) -> str:
    return f"/console/assets/{name}?v={VERSIONS[name]}"


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(asset=_asset, Permission=Permission)
    made.filters.update(duration=duration, money=money, moment=moment)
    return made


ENVIRONMENT: Final = _environment()


def page(request: Request, name: str, session: Session | None, /, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401 - values of templates
    """Return a page.

    Args:
        request: the request; a page that HTMX asks for has no head and no navigation.
        name: the template, without its ending.
        session: of the person who reads it, ``None`` before the login.
        status: HTTP status of the answer.
        **values: what the template shows.
    """
    text = ENVIRONMENT.get_template(f"{name}.html.j2").render(
        **values, session=session, path=request.url.path, is_part=request.headers.get("hx-request") == "true"
    )
    return HTMLResponse(text, status, headers={"Vary": "HX-Request, Cookie"})
