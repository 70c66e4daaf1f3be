"""A service's page: static files at `/` and `/web`, of the service itself and, after those, of `cuvee/web`."""

import os
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_POLICY = (
    # Nothing from elsewhere, nothing inline.
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def serve_page(app: FastAPI, folder: Path, policy: str = "") -> None:
    """Add `index.html` of the folder at `/`, all its files below `/web`; `policy` adds to what a page may load."""
    headers = {
        "Content-Security-Policy": "; ".join(filter(None, (_POLICY, policy))),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        # Asked for again each time, and answered with 304: a new version is seen at once.
        "Cache-Control": "no-cache",
    }

    class Files(StaticFiles):
        def file_response(
            self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
        ) -> Response:
            response = super().file_response(full_path, stat_result, scope, status_code)
            response.headers.update(headers)
            return response

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(folder / "index.html", headers=headers)

    app.mount("/web", Files(directory=folder, packages=[("cuvee", "web")]), name="web")
