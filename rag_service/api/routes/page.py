"""GET /: the page that people use; everything on it comes through the API, with the visitor's key."""

from pathlib import Path

from fastapi import FastAPI

from cuvee.page import serve_page

_WEB = Path(__file__).resolve().parents[2] / "web"


def serve(app: FastAPI) -> None:
    # A PDF is shown from a blob that the page fetched with the key.
    serve_page(app, _WEB, "frame-src blob:; object-src blob:")
