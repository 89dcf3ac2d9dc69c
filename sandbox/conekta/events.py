"""Events: how Conekta tells what happened, signed with a key pair whose private half it keeps."""

from __future__ import annotations

import base64
import copy

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.conekta.wire import Json, hex_id, not_found, page
from sandbox.core import Call, Core

_KEY_SIZE_BITS = 2048
_WEBHOOK_STATUS = {"delivered": "successful", "pending": "pending"}


class Events:
    def __init__(self, core: Core) -> None:
        self.core = core
        self._private_key = _load_or_make_key(core.config.conekta_private_key_pem)
        self._key_id = hex_id()
        self._key_created_at = core.clock.now()
        core.webhooks.signers["conekta"] = self.sign

    @property
    def public_key_pem(self) -> str:
        encoded = self._private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return encoded.decode()

    def sign(self, raw: bytes) -> dict[str, str]:
        """The `Digest` header: RSASSA-PKCS1-v1_5 with SHA-256 over the raw body, plain base64."""
        signature = self._private_key.sign(raw, padding.PKCS1v15(), hashes.SHA256())
        return {"Digest": base64.b64encode(signature).decode()}

    def emit(self, event_type: str, subject: Json) -> None:
        """Send what `subject` looks like now; later changes must not alter what was said."""
        event_id = hex_id()
        log = {
            "id": f"webhl_{event_id[:17]}",
            "url": f"{self.core.config.webhook_base_url or 'https://unset.invalid'}/conekta",
            "failed_attempts": 0,
            "last_http_response_status": -1,
            "response_data": None,
            "object": "webhook_log",
            "last_attempted_at": 0,
        }
        event = {
            "data": {"object": copy.deepcopy(subject), "previous_attributes": {}},
            "livemode": False,
            "webhook_status": "pending",
            "webhook_logs": [log],
            "id": event_id,
            "object": "event",
            "type": event_type,
            "created_at": self.core.clock.now(),
        }
        self.core.webhooks.emit("conekta", event)

    def emit_in_some_order(
        self, order_event: tuple[str, Json], charge_events: list[tuple[str, Json]]
    ) -> None:
        """Conekta promises no order: with every other new order the charges speak first."""
        events = [order_event, *charge_events]
        if len(self.core.collection("conekta", "orders")) % 2:
            events = [*charge_events, order_event]
        for event_type, subject in events:
            self.emit(event_type, subject)

    async def find_all(self, request: Request, _call: Call) -> Response:
        search = request.query_params.get("search", "")
        found = [event for event in self._all() if search in event["type"]]
        return JSONResponse(page(request, found))

    async def retrieve(self, request: Request, _call: Call) -> Response:
        for event in self._all():
            if event["id"] == request.path_params["id"]:
                return JSONResponse(event)
        raise not_found("event")

    async def find_keys(self, request: Request, _call: Call) -> Response:
        return JSONResponse(page(request, [self._key()]))

    async def retrieve_key(self, request: Request, _call: Call) -> Response:
        if request.path_params["id"] != self._key_id:
            raise not_found("webhook key")
        return JSONResponse(self._key())

    def _all(self) -> list[Json]:
        return [
            {**e["body"], "webhook_status": _WEBHOOK_STATUS.get(e["status"], "failing")}
            for e in reversed(self.core.webhooks.events)
            if e["provider"] == "conekta"
        ]

    def _key(self) -> Json:
        return {
            "object": "webhook_key",
            "id": self._key_id,
            "active": True,
            "livemode": False,
            "public_key": self.public_key_pem,
            "created_at": self._key_created_at,
            "deactivated_at": None,
        }


def _load_or_make_key(pem: str | None) -> rsa.RSAPrivateKey:
    if pem is None:
        return rsa.generate_private_key(public_exponent=65537, key_size=_KEY_SIZE_BITS)
    # The check takes 50 ms and guards against keys of strangers; this one only ever signs for play.
    key = serialization.load_pem_private_key(
        pem.encode(), password=None, unsafe_skip_rsa_key_validation=True
    )
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("conekta_private_key_pem is not an RSA key")
    return key
