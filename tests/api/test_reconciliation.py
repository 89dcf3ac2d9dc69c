"""What reconciliation found, read by operators: each tenant its own, and nobody's for administrators."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from abono.keys import create_key
from models.reconcile import Drift
from models.storage.tables import ReconciliationFinding, ReconciliationRun, new_id
from tests.api.support import PEPPER, Api

PATH = "/api/v1/operator/reconciliation"
NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)


@pytest.fixture
async def run(api: Api) -> UUID:
    """A run that found one thing of ours, one of theirs and one of nobody's."""
    made = ReconciliationRun(
        id=new_id(),
        provider="conekta",
        account="default",
        dry_run=False,
        since=NOW,
        chain_started_at=NOW,
        started_at=NOW,
        finished_at=NOW,
        status="finished",
        cursor={},
        objects=3,
        repaired=0,
        left_over=3,
    )
    await api.add(made)
    owners = {"ours": api.ours.application_id, "theirs": api.theirs.application_id, "lost": None}
    await api.add(*(_finding(made, name, owner) for name, owner in owners.items()))
    return made.id


def _finding(run: ReconciliationRun, name: str, owner: UUID | None) -> ReconciliationFinding:
    return ReconciliationFinding(
        id=new_id(),
        run_id=run.id,
        dry_run=False,
        provider=run.provider,
        account=run.account,
        kind=Drift.UNKNOWN_MONEY,
        object_id=f"ord_{name}",
        application_id=owner,
        theirs="captured 900 MXN",
        ours="nothing",
        status="left",
        listed={},
        found_at=NOW,
    )


async def _seen(api: Api, key: str, **query: str) -> list[str]:
    answer = await api.anyone.get(f"{PATH}/findings", params=query, headers=_bearer(key))
    assert answer.status_code == 200, answer.text
    return [one["object_id"] for one in answer.json()["data"]]


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_an_operator_sees_their_own_findings(api: Api, run: UUID, database_url: str) -> None:
    key = await create_key(
        database_url, application_name="Ours", scopes=["operator"], pepper=PEPPER
    )
    assert await _seen(api, key) == ["ord_ours"]
    assert await _seen(api, key, status="repaired") == []
    refused = await api.anyone.get(f"{PATH}/runs", headers=_bearer(key))
    assert refused.status_code == 403


async def test_an_administrator_sees_nobodys_too(api: Api, run: UUID) -> None:
    found = await _seen(api, api.ours.key, run_id=str(run))
    assert sorted(found) == ["ord_lost", "ord_ours"]
    answer = await api.ours.http.get(f"{PATH}/runs", params={"provider": "conekta"})
    [told] = answer.json()["data"]
    assert (told["id"], told["status"], told["left"]) == (str(run), "finished", 3)


async def test_figures_count_what_is_left(api: Api, run: UUID) -> None:
    text = (await api.ours.http.get("/metrics")).text
    labels = 'kind="unknown_money",provider="conekta",status="left"'
    assert f"abono_reconciliation_findings{{{labels}}} 3.0" in text
    assert 'abono_reconciliation_age_seconds{provider="conekta"}' in text
