"""The built console, served from the package; deep links get the console's one page."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from dashboard_api import pages

STATIC = Path(__file__).parent / "static"
#: Vite puts a hash of its content into the name of each file in here.
_HASHED = "assets/"
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


class Console(StaticFiles):
    """Static files with caching: hashed ones for ever, the others checked by their ETag."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file, or the console's page for an address that only the console knows."""
        try:
            response = await super().get_response("index.html" if path == "." else path, scope)
        except HTTPException as error:
            if error.status_code != HTTPStatus.NOT_FOUND or not _is_page(path, scope):
                raise
            response = await super().get_response("index.html", scope)
        if response.status_code in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED):
            hashed = path.startswith(_HASHED)
            response.headers["Cache-Control"] = _FOR_EVER if hashed else _ASK_AGAIN
        return response


def _is_page(path: str, scope: Scope) -> bool:
    """Tell whether a browser asks for a page rather than for a file."""
    accept = Request(scope).headers.get("accept", "")
    return "text/html" in accept and not path.startswith(("api/", _HASHED))


def install(app: FastAPI, folder: Path) -> None:
    """Serve the console at every address that no route has taken; last of all routes."""
    if (folder / "index.html").is_file():
        app.mount("/", Console(directory=folder), name="console")
        return

    @app.get("/", include_in_schema=False)
    async def not_built() -> Response:
        return pages.console_not_built()
