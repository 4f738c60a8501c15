"""The style, the script and HTMX. They hold no data, so they need no session."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from api.console.pages import ASSETS, VERSIONS

router = APIRouter()
_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_FOREVER: Final = "public, max-age=31536000, immutable"


@router.get("/assets/{name}")
async def asset(request: Request, name: str) -> Response:
    """Return a file; browsers keep it if the address names its version."""
    content = ASSETS.get(name)
    if content is None:
        raise HTTPException(404, "there is no such file")
    is_version = request.query_params.get("v") == VERSIONS[name]
    return Response(
        content,
        media_type=_TYPES[name.rpartition(".")[2]],
        headers={"Cache-Control": _FOREVER} if is_version else {},
    )
