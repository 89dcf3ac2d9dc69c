"""Where the `type` of a problem leads: what a code means and what to do about it."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from api.error_catalog import ERRORS_PATH, error_codes
from api.openapi import problems
from models.errors import NotFound

router = APIRouter(prefix=ERRORS_PATH, tags=["Operations"])


class ErrorCodeView(BaseModel):
    """`statuses`: the HTTP statuses that the code comes with."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "code": "plan_not_active",
                    "statuses": [409],
                    "cause": "the plan is no longer on sale",
                    "cure": "use another plan",
                }
            ]
        },
    )

    code: str
    statuses: list[int]
    cause: str
    cure: str


@router.get(
    "/{code}",
    response_model=ErrorCodeView,
    responses=problems(404),
    summary="Read what an error code means",
)
async def read_error_code(code: str) -> ErrorCodeView:
    """The `type` of every problem is this address. Needs no API key."""
    found = error_codes().get(code)
    if found is None:
        raise NotFound("There is no such code.")
    return ErrorCodeView.model_validate(found)
