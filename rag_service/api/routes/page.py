"""GET /: the page that people use. Static files; everything on it comes through the API, with the visitor's key."""

import os
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_WEB = Path(__file__).resolve().parents[2] / "web"
_HEADERS = {
    # Nothing from elsewhere, nothing inline; a PDF is shown from a blob that the page fetched with the key.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "frame-src blob:; object-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Asked for again each time, and answered with 304: a new version is seen at once.
    "Cache-Control": "no-cache",
}


class _Files(StaticFiles):
    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_HEADERS)
        return response


def serve(app: FastAPI) -> None:
    """Add the page at `/` and its files below `/web`."""

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(_WEB / "index.html", headers=_HEADERS)

    app.mount("/web", _Files(directory=_WEB), name="web")
