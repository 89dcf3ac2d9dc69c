"""For load balancers, orchestrators and Prometheus."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from api.context import ApiContext, Context
from api.metrics import CONTENT_TYPE

router = APIRouter(tags=["Operations"])

_METRIC = 'abono_webhooks_total{provider="stripe",outcome="accepted"} 12.0'
_CHECK_TIMEOUT_SECONDS = 2.0


class Health(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: str


class Readiness(BaseModel):
    """`missing` names the checks that are `unavailable`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"status": "ok", "checks": {"database": "ok", "temporal": "ok"}, "missing": []}
            ]
        }
    )

    status: str
    checks: dict[str, str]
    missing: list[str]


@router.get("/healthz", response_model=Health, summary="Is this process alive")
async def healthz() -> Health:
    """Says only that the process answers: it looks at nothing else."""
    return Health(status="ok")


@router.get(
    "/readyz",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Something is missing."}},
    summary="Can this process do its work",
)
async def readyz(context: Context) -> JSONResponse:
    """Looks at the database and at Temporal; 503 names the one that is missing. Webhooks are
    accepted without Temporal, so a replica that is not ready may still be worth its traffic."""
    database, temporal = await asyncio.gather(
        _database_answers(context), context.commands.is_reachable()
    )
    checks = {"database": database, "temporal": temporal}
    missing = [name for name, answers in checks.items() if not answers]
    answer = Readiness(
        status="unavailable" if missing else "ok",
        checks={name: "ok" if answers else "unavailable" for name, answers in checks.items()},
        missing=missing,
    )
    return JSONResponse(answer.model_dump(), 503 if missing else 200)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _METRIC}}}
    },
)
async def metrics(context: Context) -> Response:
    """In the text format of Prometheus."""
    context.metrics.tell_providers(context.providers.names())
    await context.metrics.ledger.refresh(context.sessions)
    return Response(context.metrics.render(), media_type=CONTENT_TYPE)


async def _database_answers(context: ApiContext) -> bool:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_SECONDS), context.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except Exception:  # Whatever it is, the answer is no.
        return False
    return True
