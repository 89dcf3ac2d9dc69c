"""Revenue, churn and recovery of an application, month by month."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.auth import Reader
from api.clock import now
from api.context import Context
from api.figures import CurrencyMonth, month_starts, payments, read_figures, slips
from api.openapi import problems
from models.figures import Movement, rate
from models.recurring import round_minor

router = APIRouter(prefix="/figures", tags=["Figures"])

# Three years: more is a matter for a data warehouse.
MONTHS_MAX = 36

_EXAMPLE: dict[str, Any] = {
    "currency": "MXN",
    "start_mrr_minor": 1_990_000,
    "end_mrr_minor": 2_089_500,
    "new_mrr_minor": 199_000,
    "resumed_mrr_minor": 0,
    "expansion_mrr_minor": 19_900,
    "contraction_mrr_minor": 0,
    "paused_mrr_minor": 19_900,
    "churned_mrr_minor": 99_500,
    "paying_at_start": 100,
    "new_count": 10,
    "churned_count": 5,
    "churn_rate": 0.05,
    "dunning_recovered_count": 7,
    "dunning_lost_count": 3,
    "dunning_recovery_rate": 0.7,
    "payment_success_rate": 0.91,
    "voucher_conversion_rate": 0.62,
}
_Rate = Annotated[float | None, Field(ge=0, description="Null when there is nothing to count")]


class CurrencyFigures(BaseModel):
    """Amounts are in minor units. `docs/figures.md` defines each."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [_EXAMPLE]})

    currency: str
    start_mrr_minor: int
    end_mrr_minor: int
    new_mrr_minor: int
    resumed_mrr_minor: int
    expansion_mrr_minor: int
    contraction_mrr_minor: int
    paused_mrr_minor: int
    churned_mrr_minor: int
    paying_at_start: int
    new_count: int
    churned_count: int
    churn_rate: _Rate
    dunning_recovered_count: int
    dunning_lost_count: int
    dunning_recovery_rate: _Rate
    payment_success_rate: _Rate
    voucher_conversion_rate: _Rate


class MonthFigures(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={"examples": [{"month": "2026-11", "currencies": [_EXAMPLE]}]},
    )

    month: str = Field(description="In UTC", pattern=r"^\d{4}-\d{2}$")
    currencies: list[CurrencyFigures]


class Figures(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "read_at": "2026-11-22T18:00:00Z",
                    "months": [{"month": "2026-11", "currencies": [_EXAMPLE]}],
                }
            ]
        },
    )

    read_at: AwareDatetime
    months: list[MonthFigures]


@router.get(
    "", response_model=Figures, responses=problems(401, 403, 422), summary="Revenue and churn"
)
async def get_figures(
    context: Context,
    principal: Reader,
    months: Annotated[int, Query(ge=1, le=MONTHS_MAX, strict=False)] = 12,
) -> Figures:
    """The last `months` months, the running one included; oldest first."""
    at = now()
    starts = month_starts(at, months)
    async with context.sessions.begin() as session:
        found = await read_figures(session, principal, starts)
    return Figures(read_at=at, months=[_month(start, found) for start in starts])


def _month(start: datetime, found: dict[tuple[datetime, str], CurrencyMonth]) -> MonthFigures:
    ours = sorted((currency, one) for (month, currency), one in found.items() if month == start)
    return MonthFigures(
        month=f"{start:%Y-%m}", currencies=[_figures(currency, one) for currency, one in ours]
    )


def _figures(currency: str, of: CurrencyMonth) -> CurrencyFigures:
    month = of.month
    amounts = {
        f"{movement}_mrr_minor": round_minor(month.amounts[movement]) for movement in Movement
    }
    return CurrencyFigures(
        currency=currency,
        start_mrr_minor=round_minor(month.start_minor),
        end_mrr_minor=round_minor(month.end_minor),
        **amounts,
        paying_at_start=month.paying_at_start,
        new_count=month.counts[Movement.NEW],
        churned_count=month.counts[Movement.CHURNED],
        churn_rate=rate(month.counts[Movement.CHURNED], month.paying_at_start),
        dunning_recovered_count=month.recovered,
        dunning_lost_count=month.lost,
        dunning_recovery_rate=rate(month.recovered, month.recovered + month.lost),
        payment_success_rate=rate(*payments(of.attempts)),
        voucher_conversion_rate=rate(*slips(of.attempts)),
    )
