"""Who may call, and what a key may do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from abono.keys import create_key, list_keys, revoke_key
from api.auth import hash_key
from models.storage.tables import ApiKey
from tests.api.support import BASE, PEPPER, Api


async def get_with(api: Api, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return (await api.anyone.get(f"{BASE}/plans", headers=headers)).status_code


async def test_requests_without_a_valid_key_are_refused_alike(api: Api) -> None:
    headers: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer abk_wrong"},
        {"Authorization": "Bearer " + "x" * 5000},
        {"Authorization": f"Basic {api.ours.key}"},
        {"Authorization": api.ours.key},
    ]
    answers = [await api.anyone.get(f"{BASE}/plans", headers=sent) for sent in headers]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert answers[0].headers["www-authenticate"] == "Bearer"
    assert answers[0].json()["code"] == "unauthenticated"


async def test_authentication_comes_before_validation(api: Api) -> None:
    answer = await api.anyone.post(f"{BASE}/organizations", json={"nonsense": True})
    assert answer.status_code == 401


async def test_an_expired_key_is_refused(api: Api, database_url: str) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    key = await create_key(
        database_url, application_name="Ours", scopes=["*"], pepper=PEPPER, expires_at=past
    )
    assert await get_with(api, key) == 401


async def test_a_revoked_key_is_refused_at_once(api: Api, database_url: str) -> None:
    key = await create_key(database_url, application_name="Ours", scopes=["*"], pepper=PEPPER)
    assert await get_with(api, key) == 200

    assert await revoke_key(database_url, key[:12])
    assert await get_with(api, key) == 401
    assert not await revoke_key(database_url, key[:12])


async def test_a_key_hashed_under_another_pepper_is_unknown(api: Api, database_url: str) -> None:
    key = await create_key(database_url, application_name="Ours", scopes=["*"], pepper="other")
    assert await get_with(api, key) == 401


async def test_only_a_hash_of_the_key_is_stored(api: Api, database_url: str) -> None:
    rows = await api.all(ApiKey.__table__.select())
    key = await create_key(database_url, application_name="Ours", scopes=["*"], pepper=PEPPER)
    made = [info for info in await list_keys(database_url) if key.startswith(info.prefix)]

    assert rows
    assert len(key) > 40
    assert [info.application for info in made] == ["Ours"]
    assert key not in str(made[0])
    assert hash_key(key, PEPPER) != hash_key(key, "other")


async def test_unknown_scopes_are_refused(database_url: str) -> None:
    with pytest.raises(ValueError, match="Unknown: plans:delete"):
        await create_key(database_url, application_name="A", scopes=["plans:delete"], pepper=PEPPER)
    with pytest.raises(ValueError, match="None was given"):
        await create_key(database_url, application_name="A", scopes=[], pepper=PEPPER)


@pytest.mark.parametrize(
    ("scopes", "reads", "writes", "sells"),
    [
        (["billing:read"], 200, 403, 403),
        (["billing:write"], 403, 422, 403),
        (["plans:write"], 403, 403, 422),
        (["admin"], 403, 403, 403),
        (["*"], 200, 422, 422),
    ],
)
async def test_scopes_limit_what_a_key_may_do(
    api: Api, database_url: str, scopes: list[str], reads: int, writes: int, sells: int
) -> None:
    key = await create_key(database_url, application_name="Ours", scopes=scopes, pepper=PEPPER)
    headers = {"Authorization": f"Bearer {key}"}

    read = await api.anyone.get(f"{BASE}/subscriptions", headers=headers)
    write = await api.anyone.post(f"{BASE}/subscriptions", json={}, headers=headers)
    sell = await api.anyone.post(f"{BASE}/plans", json={}, headers=headers)

    assert (read.status_code, write.status_code, sell.status_code) == (reads, writes, sells)
