"""Asking the two services over HTTP, as any client would."""

from typing import Any

import httpx

from cuvee.errors import CuveeError, NotReadyError
from cuvee.settings import Settings


class ServiceClient:
    """`rag_service` and `ml_service` of one stack, with its API key."""

    def __init__(self, settings: Settings, api_key: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        self._rag = httpx.Client(base_url=settings.resolved_rag_url, headers=headers, timeout=120)
        self._ml = httpx.Client(base_url=settings.resolved_ml_url, headers=headers, timeout=30)

    def serves(self, service: str) -> dict[str, Any] | None:
        """What `/health/ready` of "rag" or "ml" names; None while it serves nothing."""
        client = self._rag if service == "rag" else self._ml
        try:
            answer = client.get("/health/ready")
        except httpx.HTTPError:
            return None
        return dict(answer.json()) if answer.status_code == 200 else None

    def ask(self, question: str, **options: Any) -> dict[str, Any]:
        return _json(self._rag.post("/ask", json={"question": question, **options}))

    def upload(self, topic: str, segment: str, name: str, content: bytes) -> dict[str, Any]:
        """Hand in one document; its id and state."""
        answer = self._rag.post(
            "/documents", data={"topic": topic, "segment": segment}, files={"files": (name, content)}
        )
        documents: list[dict[str, Any]] = _json(answer)["documents"]
        return documents[0]

    def delete(self, document_id: str) -> None:
        _json(self._rag.delete(f"/documents/{document_id}"))

    def documents(self, **filters: Any) -> list[dict[str, Any]]:
        """Every document that matches, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            page = _json(self._rag.get("/documents", params={"limit": 1000, "offset": len(found), **filters}))
            found += page["documents"]
            if not page["documents"] or len(found) >= page["total"]:
                return found

    def predict(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        return _json(self._ml.post("/predict", json={"samples": samples}))

    def observe(self, qualities: dict[str, float]) -> list[str]:
        """Tell what tasters said, by the prediction's id; what became of each."""
        body = [{"prediction_id": i, "quality": quality} for i, quality in qualities.items()]
        answer = _json(self._ml.post("/observations", json={"observations": body}))
        return [str(one["outcome"]) for one in answer["observations"]]

    def features(self) -> dict[str, Any]:
        """What a wine is described by, with an example."""
        return _json(self._ml.get("/features"))

    def model(self) -> dict[str, Any]:
        return _json(self._ml.get("/model"))

    def metrics(self, service: str, prefix: str) -> dict[str, float]:
        """Values of the Prometheus metrics whose name begins with `prefix`, by name and labels."""
        lines = (self._rag if service == "rag" else self._ml).get("/metrics").text.splitlines()
        return {
            name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line.startswith(prefix))
        }


def _json(answer: httpx.Response) -> dict[str, Any]:
    """The body of a success.

    Raises:
        NotReadyError: status 503.
        CuveeError: any other status, with the service's own message.
    """
    if answer.is_success:
        return dict(answer.json())
    try:
        message = answer.json()["error"]["message"]
    except (ValueError, KeyError):
        message = answer.text[:500]
    raised = NotReadyError if answer.status_code == 503 else CuveeError
    raise raised(f"{answer.request.method} {answer.request.url} answered {answer.status_code}: {message}")
