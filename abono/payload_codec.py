"""Encrypts what workflows and activities are given and give back, so that Temporal holds no plain text.

AES-256-GCM, a fresh nonce for every payload, the key's name beside it. Search attributes stay readable:
operators search by them, and none of them is about a person.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
)

from abono.payload_converter import plain_data_converter
from abono.payload_keys import PayloadKeyError

ENCODING = b"binary/encrypted"
NONCE_BYTES = 12


class AesGcmCodec(PayloadCodec):
    """What was written before encryption was turned on, or with an older key, is still read."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """`keys` by name, the one to encrypt with first; at least one."""
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}
        self._current = next(iter(keys))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Iterable[Payload]) -> list[Payload]:
        """Raises PayloadKeyError for a payload of an unknown key, or one that was changed."""
        return [self._decrypt(payload) for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce, name = os.urandom(NONCE_BYTES), self._current.encode()
        plain = payload.SerializeToString()
        # The key's name is authenticated with it: nobody makes us try another one.
        sealed = self._ciphers[self._current].encrypt(nonce, plain, name)
        return Payload(metadata={"encoding": ENCODING, "key": name}, data=nonce + sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        name = payload.metadata.get("key", b"")
        cipher = self._ciphers.get(name.decode(errors="replace"))
        if cipher is None:
            raise PayloadKeyError(f"no payload key is named {name.decode(errors='replace')}")
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, sealed, name))
        except (InvalidTag, ValueError):
            raise PayloadKeyError(
                "a payload was not encrypted with the key that it names"
            ) from None


def data_converter(keys: Mapping[str, bytes]) -> DataConverter:
    """The converter that every process shares; with `keys` it encrypts, failures' messages included."""
    if not keys:
        return plain_data_converter
    return dataclasses.replace(
        plain_data_converter,
        payload_codec=AesGcmCodec(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
