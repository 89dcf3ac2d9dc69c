"""Writes small databases in MaxMind's format, after its published specification (version 2.0)."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

_MARKER = b"\xab\xcd\xefMaxMind.com"
_STRING, _UINT32, _MAP, _UINT64, _ARRAY = 2, 6, 7, 9, 11
_SEPARATOR = bytes(16)

# A node has two records: another node, data, or (None) nothing.
Node = list[Any]


def write(path: Path, records: dict[str, Any], database_type: str = "Test-Country") -> Path:
    """A database of networks and what is known of them; IPv4 networks stand where MaxMind puts them,
    below ::/96."""
    nodes: list[Node] = [[None, None]]
    data = bytearray()
    for network, record in records.items():
        offset = len(data)
        data += encode(record)
        _insert(nodes, _bits(network), offset)
    tree = b"".join(_packed(record, len(nodes)) for node in nodes for record in node)
    metadata = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1_795_000_000,
        "database_type": database_type,
        "description": {"en": "written by a test"},
        "ip_version": 6,
        "languages": ["en"],
        "node_count": len(nodes),
        "record_size": 24,
    }
    path.write_bytes(tree + _SEPARATOR + bytes(data) + _MARKER + encode(metadata))
    return path


def encode(value: Any) -> bytes:
    if isinstance(value, str):
        raw = value.encode()
        return _control(_STRING, len(raw)) + raw
    if isinstance(value, dict):
        items = b"".join(encode(name) + encode(item) for name, item in value.items())
        return _control(_MAP, len(value)) + items
    if isinstance(value, list):
        return _control(_ARRAY, len(value)) + b"".join(encode(item) for item in value)
    kind, width = (_UINT32, 4) if value < 2**32 else (_UINT64, 8)
    return _control(kind, width) + int(value).to_bytes(width, "big")


def _control(kind: int, size: int) -> bytes:
    assert size < 29, "longer ones are written another way"
    return bytes([size, kind - 7]) if kind > 7 else bytes([kind << 5 | size])


def _bits(network: str) -> str:
    parsed = ipaddress.ip_network(network)
    bits = f"{int(parsed.network_address):0{parsed.max_prefixlen}b}"[: parsed.prefixlen]
    return bits if parsed.version == 6 else "0" * 96 + bits


def _insert(nodes: list[Node], bits: str, offset: int) -> None:
    at = 0
    for bit in bits[:-1]:
        following = nodes[at][int(bit)]
        if following is None:
            nodes.append([None, None])
            following = nodes[at][int(bit)] = ("node", len(nodes) - 1)
        at = following[1]
    nodes[at][int(bits[-1])] = ("data", offset)


def _packed(record: Any, node_count: int) -> bytes:
    if record is None:
        return node_count.to_bytes(3, "big")
    kind, number = record
    value = number if kind == "node" else node_count + len(_SEPARATOR) + number
    return int(value).to_bytes(3, "big")
