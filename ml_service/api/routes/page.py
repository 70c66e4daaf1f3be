"""GET /: the page to try the model on; everything on it comes through the API, with the visitor's key."""

from pathlib import Path

from fastapi import FastAPI

from cuvee.page import serve_page

_WEB = Path(__file__).resolve().parents[2] / "web"


def serve(app: FastAPI) -> None:
    serve_page(app, _WEB)
