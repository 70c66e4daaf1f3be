"""Every error of ours has its status; what breaks otherwise tells nothing; bodies are limited."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, FastAPI, HTTPException, Request, Response
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY
from pydantic import BaseModel, Field
from sqlalchemy.exc import InterfaceError, OperationalError

from cuvee import errors
from cuvee.errors import CuveeError, ForbiddenError, NotReadyError, UnauthorizedError
from cuvee.keys import Caller
from cuvee.service import RawRoute, caller_with, create_service

MOST_BYTES = 1000


class Served(BaseModel):
    version: int


class Sized(BaseModel):
    size: Annotated[int, Field(ge=1)]


class FakeKeys:
    """Knows two keys; "weak" lacks every scope. Remembers neither."""

    def remembered(self, authorization: str | None, scope: str) -> None:
        return None

    def authenticate(self, authorization: str | None, scope: str) -> Caller:
        if authorization == "Bearer strong":
            return Caller(7, "tester", frozenset({scope}))
        if authorization == "Bearer weak":
            raise ForbiddenError(f"The API key 'weak' lacks the scope '{scope}'.")
        raise UnauthorizedError("Send your API key.")


def echoing(raised: Exception | None) -> APIRouter:
    router = APIRouter(route_class=RawRoute)

    @router.api_route("/hot", methods=["GET", "POST"])
    async def echo(request: Request) -> Response:
        if raised:
            raise raised
        return Response(await request.body())

    return router


def build(raised: Exception | None = None, version: int | None = 3) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.keys = FakeKeys()
        yield

    def readiness(app: FastAPI) -> Served:
        if version is None:
            raise NotReadyError("Nothing is served yet: train first.")
        return Served(version=version)

    hot = echoing(raised)
    app = create_service("test", "A service for tests.", lifespan, readiness, MOST_BYTES, hot=hot.routes)
    app.include_router(hot)

    @app.get("/raise")
    def raise_it() -> None:
        if raised:
            raise raised

    @app.post("/sizes")
    def sizes(sized: Sized) -> int:
        return sized.size

    @app.post("/text")
    def text(content: Annotated[str, Body()]) -> int:
        return len(content)

    @app.get("/mine")
    def mine(caller: Annotated[Caller, caller_with("rag")]) -> int:
        return caller.key_id

    return app


def client(app: FastAPI | None = None) -> TestClient:
    return TestClient(app or build(), raise_server_exceptions=False)


def every_kind() -> Iterator[type[CuveeError]]:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, CuveeError):
            yield value


STATUSES = {
    "CuveeError": 500,
    "ConfigurationError": 500,
    "InvalidInputError": 422,
    "TooLargeError": 413,
    "UnreadableDocumentError": 422,
    "DataQualityError": 422,
    "NotFoundError": 404,
    "UnauthorizedError": 401,
    "ForbiddenError": 403,
    "NotReadyError": 503,
    "IntegrityError": 500,
    "PreconditionError": 500,
    "ProcessDiedError": 500,
}


def test_the_table_of_statuses_names_every_error_of_the_tree() -> None:
    assert {kind.__name__ for kind in every_kind()} == set(STATUSES)


@pytest.mark.parametrize("error", every_kind(), ids=lambda kind: kind.__name__)
def test_an_error_of_ours_has_its_status_its_kind_and_its_message(error: type[CuveeError]) -> None:
    answer = client(build(error("What happened, and what to do."))).get("/raise")

    assert answer.status_code == STATUSES[error.__name__]
    assert answer.json() == {"error": {"type": error.kind, "message": "What happened, and what to do."}}


def test_a_caller_without_a_key_is_told_the_scheme_and_one_who_comes_too_early_when_to_return() -> None:
    assert client(build(UnauthorizedError("no"))).get("/raise").headers["www-authenticate"] == "Bearer"
    assert client(build(NotReadyError("no"))).get("/raise").headers["retry-after"] == "2"


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
def test_a_database_that_does_not_answer_is_503_and_its_address_stays_secret(kind: type[Exception]) -> None:
    answer = client(build(kind("select 1", {}, Exception("host=secret-host refused")))).get("/raise")

    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "not_ready"
    assert "secret-host" not in answer.text


def test_an_unexpected_error_is_500_without_its_text() -> None:
    answer = client(build(RuntimeError("password=hunter2"))).get("/raise")

    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "internal_error")
    assert "hunter2" not in answer.text


def test_a_wrong_body_is_422_and_names_the_field() -> None:
    assert client().post("/sizes", json={"size": 0}).json() == {
        "error": {"type": "invalid_input", "message": "size: Input should be greater than or equal to 1, not 0"}
    }
    assert client().post("/sizes", json={}).json()["error"]["message"] == "size: Field required"
    broken = client().post("/sizes", content=b"{", headers={"content-type": "application/json"})
    assert (broken.status_code, broken.json()["error"]["type"]) == (422, "invalid_input")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [("GET", "/nowhere", 404, "not_found"), ("DELETE", "/sizes", 405, "method_not_allowed")],
)
def test_a_route_that_is_not_there_has_our_error_body(method: str, path: str, status: int, kind: str) -> None:
    answer = client().request(method, path)

    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)


def blocks(total: int) -> Iterator[bytes]:
    """A JSON string of `total` bytes, sent in pieces, so that no length is announced."""
    yield b'"'
    for _ in range(total - 2):
        yield b"x"
    yield b'"'


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "not announced"])
def test_a_body_may_have_exactly_the_limit_and_no_byte_more(announced: bool) -> None:
    def post(total: int) -> Any:
        content = b"".join(blocks(total)) if announced else blocks(total)
        return client().post("/text", content=content, headers={"content-type": "application/json"})

    fits, over = post(MOST_BYTES), post(MOST_BYTES + 1)

    assert (fits.status_code, fits.json()) == (200, MOST_BYTES - 2)
    assert over.status_code == 413
    assert over.json() == {"error": {"type": "too_large", "message": "The request body may have at most 1000 bytes."}}


def test_keys_decide_between_200_401_and_403() -> None:
    with client() as served:
        assert served.get("/mine").status_code == 401
        assert served.get("/mine", headers={"authorization": "Bearer weak"}).status_code == 403
        known = served.get("/mine", headers={"authorization": "Bearer strong"})

    assert (known.status_code, known.json()) == (200, 7)


@pytest.mark.parametrize(
    "error",
    [
        *(kind("What happened, and what to do.") for kind in every_kind()),
        HTTPException(405, "Not so."),
        OperationalError("select", {}, Exception("down")),
        RuntimeError("a secret"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_hot_route_tells_errors_as_any_other(error: Exception) -> None:
    served = client(build(error))

    usual, hot = served.get("/raise"), served.get("/hot")

    assert (hot.status_code, hot.json()) == (usual.status_code, usual.json())
    assert {*hot.headers.items()} == {*usual.headers.items()}


def test_a_hot_route_answers_other_methods_counts_and_limits_as_any_other() -> None:
    served = client()

    assert served.post("/hot", content=b"a" * MOST_BYTES).content == b"a" * MOST_BYTES
    assert served.post("/hot", content=iter([b"a" * MOST_BYTES, b"a"])).status_code == 413
    assert served.delete("/hot").status_code == served.delete("/sizes").status_code == 405
    assert 'http_requests_total{handler="/hot",method="POST",status="4xx"}' in served.get("/metrics").text


def test_health_needs_no_key_and_says_what_is_served() -> None:
    assert client().get("/health/live").json() == {"status": "alive"}
    assert client().get("/health/ready").json() == {"version": 3}


def test_a_service_with_nothing_to_serve_lives_but_is_not_ready() -> None:
    empty = client(build(version=None))

    assert empty.get("/health/live").status_code == 200
    ready = empty.get("/health/ready")
    assert (ready.status_code, ready.json()["error"]["message"]) == (503, "Nothing is served yet: train first.")


def test_metrics_count_requests_by_route_and_status() -> None:
    def counted(handler: str) -> float:
        labels = {"method": "POST", "handler": handler, "status": "4xx"}
        return REGISTRY.get_sample_value("http_requests_total", labels) or 0.0

    served, before, astray = client(), counted("/sizes"), counted("none")
    served.post("/sizes", json={"size": 0})
    served.post("/sizes/of/nothing")
    told = served.get("/metrics")

    # Metrics belong to the process: others' requests may be among them.
    assert (counted("/sizes"), counted("none")) == (before + 1, astray + 1)
    assert told.headers["content-type"].startswith("text/plain")
    assert f'http_request_duration_seconds_count{{handler="/sizes",method="POST"}} {before + 1}' in told.text
    assert 'handler="/metrics"' not in told.text


def test_the_documentation_page_loads_nothing_from_another_machine() -> None:
    with client() as http:
        page = http.get("/docs").text
        addresses = re.findall(r'(?:src|href)="([^"]+)"', page)

        assert len(addresses) >= 2
        assert [address for address in addresses if not address.startswith("/")] == []
        assert {http.get(address).status_code for address in addresses} == {200}
