"""The app really served on a port, and documents as the pipeline leaves them: rows, raw bytes, cleaned texts."""

import hashlib
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
import uvicorn
from reportlab.pdfgen import canvas

from cuvee.database import documents
from cuvee.objects import ObjectStore
from cuvee.settings import Settings
from rag_service.api.app import create_app
from rag_service.documents.cleaning import clean
from tests.integration.conftest import free_port
from tests.integration.rag_service.serving import LIBRARY


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The app on a free port; its address."""
    port = free_port()
    settings = settings.model_copy(update={"public_rag_url": f"http://127.0.0.1:{port}"})
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=port, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline, "the app did not start"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive(), "the app did not stop"


def shelve(engine: sa.Engine, settings: Settings, pdfs: dict[str, bytes] | None = None) -> None:
    """Record the documents of LIBRARY as indexed, with ids `doc-<name>`; those in `pdfs` are PDF files."""
    store = ObjectStore(settings.resolved_objects_url)
    with engine.begin() as connection:
        for name, ((topic, segment, title), text) in LIBRARY.items():
            content = (pdfs or {}).get(name, text.encode())
            row = {
                "document_id": f"doc-{name}",
                "topic": topic,
                "segment": segment,
                "uri": f"{name}.txt",
                "title": title,
                "media_type": "application/pdf" if name in (pdfs or {}) else "text/plain",
                "pages": 2 if name in (pdfs or {}) else None,
                "sha256": store.put(io.BytesIO(content)).sha256,
                "size_bytes": len(content),
                "text_sha256": store.put(io.BytesIO(clean([text], False).text.encode())).sha256,
                "state": "indexed",
                "chunks": 1,
            }
            connection.execute(sa.insert(documents).values(**row))


def pdf(*pages: str) -> bytes:
    out = io.BytesIO()
    drawing = canvas.Canvas(out)
    for page in pages:
        drawing.drawString(72, 720, page)
        drawing.showPage()
    drawing.save()
    return out.getvalue()


def document(engine: sa.Engine, document_id: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(sa.select(documents).where(documents.c.document_id == document_id)).one()


def set_document(engine: sa.Engine, document_id: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(documents).where(documents.c.document_id == document_id).values(**values))


def document_id(topic: str, segment: str, name: str, content: bytes) -> str:
    """As the ledger makes it."""
    joined = "\0".join((topic, segment, name, hashlib.sha256(content).hexdigest()))
    return hashlib.sha256(joined.encode()).hexdigest()[:32]
