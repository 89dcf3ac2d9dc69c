"""The reference of the API for people, with a policy that lets it load what it needs and nothing else."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_CDN = "https://cdn.jsdelivr.net"
# A page that asks nobody for its icon.
_NO_ICON = "data:,"
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


@router.get("/docs")
async def swagger(request: Request) -> HTMLResponse:
    page = get_swagger_ui_html(
        openapi_url=_description_of(request), title=request.app.title, swagger_favicon_url=_NO_ICON
    )
    return _with_policy(page)


@router.get("/redoc")
async def redoc(request: Request) -> HTMLResponse:
    page = get_redoc_html(
        openapi_url=_description_of(request),
        title=request.app.title,
        redoc_favicon_url=_NO_ICON,
        with_google_fonts=False,
    )
    return _with_policy(page)


def _description_of(request: Request) -> str:
    root: str = request.scope.get("root_path", "").rstrip("/")
    return root + str(request.app.openapi_url)


def _with_policy(page: HTMLResponse) -> HTMLResponse:
    """Scripts from the CDN and the page's own, by its hash: whatever gets into the page besides does not
    run. Styles may be inline, for both libraries make them as they go; ReDoc searches in a worker."""
    own = [_hash_of(script) for script in _INLINE_SCRIPT.findall(bytes(page.body))]
    page.headers["content-security-policy"] = "; ".join(
        (
            "default-src 'none'",
            " ".join(["script-src", _CDN, *own]),
            f"style-src 'unsafe-inline' {_CDN}",
            f"img-src 'self' data: {_CDN} https://cdn.redoc.ly",
            f"font-src data: {_CDN}",
            "connect-src 'self'",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return page


def _hash_of(script: bytes) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(script).digest()).decode()}'"
