"""Reads the keys that payloads are encrypted with out of their setting."""

from __future__ import annotations

import base64
import binascii

KEY_BYTES = 32


class PayloadKeyError(ValueError):
    """A key that is no key, or a payload whose key is not among ours. The message holds no secret."""


def parse_keys(text: str) -> dict[str, bytes]:
    """`name:base64, name:base64`, as the setting says it. The first one encrypts. Raises PayloadKeyError."""
    keys: dict[str, bytes] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, separator, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not name or not separator or len(key) != KEY_BYTES:
            raise PayloadKeyError(
                f"key {len(keys) + 1} is not `name:` and {KEY_BYTES} bytes in base64"
            )
        if name in keys:
            raise PayloadKeyError(f"there are two keys named {name}")
        keys[name] = key
    return keys
