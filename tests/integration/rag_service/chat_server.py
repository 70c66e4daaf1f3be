"""A small server that speaks OpenAI's protocol, for tests: it records what it is asked and misbehaves on demand."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse


@dataclass
class Behaviour:
    """What the server does next."""

    pieces: tuple[str, ...] = ("The fans start", " at 3,000 ppm. [1]")
    finish_reason: str = "stop"
    models: tuple[dict[str, Any], ...] = ({"id": "little"},)
    failures: list[int] = field(default_factory=list)
    """Statuses with which the next requests to chat fail."""
    failure_code: str | None = None
    models_status: int = 200
    delay_seconds: float = 0.0
    """Before the first piece, and between pieces."""
    breaks_off: bool = False
    """Whether the connection is cut after the first piece."""
    refuses_unknown_models: bool = False
    """Whether chat answers 404 for a model that is not in `models`."""
    tokenizer: str | None = None
    """`vllm`, `llama.cpp`, `other` (it answers, but not that), or none."""
    tokenizer_status: int = 200


@dataclass
class ChatServer:
    url: str
    does: Behaviour
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    counted: list[dict[str, Any]] = field(default_factory=list)


def app(server: ChatServer) -> FastAPI:
    api = FastAPI()

    @api.get("/v1/models")
    def models(request: Request) -> Response:
        server.keys.append(request.headers.get("authorization"))
        if server.does.models_status != 200:
            return JSONResponse({"error": {"message": "no"}}, server.does.models_status)
        return JSONResponse({"object": "list", "data": [{"object": "model", **m} for m in server.does.models]})

    @api.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        server.requests.append(await request.json())
        known = {model["id"] for model in server.does.models}
        if server.does.refuses_unknown_models and server.requests[-1]["model"] not in known:
            return JSONResponse({"error": {"message": "no such model", "code": "model_not_found"}}, 404)
        if server.does.failures:
            error = {"message": "failing", "code": server.does.failure_code}
            return JSONResponse({"error": error}, server.does.failures.pop(0))
        return StreamingResponse(events(server.does), media_type="text/event-stream")

    @api.post("/tokenize")
    async def tokenize(request: Request) -> Response:
        body = await request.json()
        server.counted.append(body)
        return tokens(server.does, body)

    return api


def tokens(does: Behaviour, body: dict[str, Any]) -> Response:
    if does.tokenizer is None or does.tokenizer_status != 200:
        return Response(status_code=404 if does.tokenizer is None else does.tokenizer_status)
    if does.tokenizer == "vllm":
        return JSONResponse({"count": len(body["prompt"].split()), "max_model_len": 4096, "tokens": []})
    if does.tokenizer == "llama.cpp":
        return JSONResponse({"tokens": body["content"].split()})
    return Response("<p>Welcome</p>", media_type="text/html")


def events(does: Behaviour) -> Iterator[str]:
    for piece in does.pieces:
        time.sleep(does.delay_seconds)
        yield event({"content": piece}, None)
        if does.breaks_off:
            raise ConnectionResetError
    yield event({}, does.finish_reason)
    yield "data: [DONE]\n\n"


def event(delta: dict[str, str], finish_reason: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "little", "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n"


@contextmanager
def running(port: int) -> Iterator[ChatServer]:
    """The server on `port`, up when this is entered and down when it is left."""
    described = ChatServer(f"http://127.0.0.1:{port}/v1", Behaviour())
    server = uvicorn.Server(uvicorn.Config(app(described), host="127.0.0.1", port=port, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield described
    finally:
        server.should_exit = True
        thread.join(10)
