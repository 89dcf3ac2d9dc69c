"""Lets the Temporal UI show what is encrypted: it sends payloads here and shows what comes back.

Whoever reaches it reads everything, so it listens on this machine alone unless told otherwise, and answers
browsers only for pages of the one origin that the UI has.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import uvicorn
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload, Payloads

from abono.payload_codec import AesGcmCodec
from abono.payload_keys import PayloadKeyError

BODY_MAX_BYTES = 4_194_304  # What Temporal's own gRPC messages may be.

Work = Callable[[list[Payload]], Awaitable[list[Payload]]]


def create_app(codec: AesGcmCodec, ui_origin: str) -> Starlette:
    """`ui_origin` is what the browser's address bar shows: http://127.0.0.1:8233."""
    return Starlette(
        routes=[
            Route("/decode", _answer(codec.decode), methods=["POST"]),
            Route("/encode", _answer(codec.encode), methods=["POST"]),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=[ui_origin],
                allow_methods=["POST"],
                allow_headers=["content-type", "x-namespace", "authorization"],
                allow_credentials=True,
            )
        ],
    )


def _answer(work: Work) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_MAX_BYTES:
                return _refuse(413, "the request is too large")
        try:
            asked = json_format.Parse(bytes(body), Payloads())
        except (json_format.ParseError, UnicodeDecodeError):
            return _refuse(400, "this is not a list of payloads")
        try:
            done = Payloads(payloads=await work(list(asked.payloads)))
        except PayloadKeyError as problem:
            return _refuse(400, str(problem))
        return JSONResponse(json.loads(json_format.MessageToJson(done)))

    return endpoint


def _refuse(status: int, message: str) -> Response:
    return JSONResponse({"message": message}, status)


def serve(codec: AesGcmCodec, *, host: str, port: int, ui_origin: str) -> None:
    """Until SIGTERM or SIGINT."""
    uvicorn.run(
        create_app(codec, ui_origin),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
    )
