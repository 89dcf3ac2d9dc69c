"""Runs the provider sandbox from `ABONO_SANDBOX_*` variables, one for each field of its config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abono.dev.errors import DevError
from abono.dev.ports import DEFAULT_PORTS, LOCALHOST, is_free

if TYPE_CHECKING:
    from sandbox.core import SandboxConfig

SANDBOX_PREFIX = "ABONO_SANDBOX_"
_RSA_BITS = 2048  # What Conekta's own webhook keys have.


def config_from(environment: Mapping[str, str]) -> SandboxConfig:
    from sandbox.core import SandboxConfig

    values: dict[str, Any] = {}
    for field in fields(SandboxConfig):
        value = environment.get(SANDBOX_PREFIX + field.name.upper())
        if value:
            values[field.name] = Path(value) if "Path" in str(field.type) else value
    return SandboxConfig(**values)


def serve() -> None:
    """Listen on ABONO_SANDBOX_HOST (127.0.0.1) and ABONO_SANDBOX_PORT until told to stop."""
    import uvicorn

    from sandbox.app import create_app

    host = os.environ.get(SANDBOX_PREFIX + "HOST") or LOCALHOST
    port = int(os.environ.get(SANDBOX_PREFIX + "PORT") or DEFAULT_PORTS["sandbox"])
    if not is_free(port, host):
        raise DevError(f"Port {port} is already in use.", f"Set {SANDBOX_PREFIX}PORT.")
    # Simulators are local and hold requests open on purpose (faults); do not wait for those.
    uvicorn.run(
        create_app(config_from(os.environ)),
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


def webhook_key_pair(private_file: Path) -> tuple[str, str]:
    """The RSA pair (private, public; PEM) the sandbox signs with as Conekta does; made once."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    if private_file.exists():
        private_pem = private_file.read_bytes()
        key = serialization.load_pem_private_key(private_pem, password=None)
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
        private_pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        private_file.parent.mkdir(parents=True, exist_ok=True)
        draft = private_file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_bytes(private_pem)
        draft.replace(private_file)
    public_pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private_pem.decode(), public_pem.decode()
