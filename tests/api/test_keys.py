"""Keys over their life: made, used, rotated with an overlap, ended. And the command line's mistakes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from abono.cli import run
from abono.keys import create_key, list_keys, revoke_key, rotate_key
from api.clock import now
from models.storage.tables import ApiKey
from tests.api.support import BASE, PEPPER, Api


async def get_with(api: Api, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return (await api.anyone.get(f"{BASE}/plans", headers=headers)).status_code


async def made(database_url: str, **options: object) -> str:
    values = {"application_name": "Ours", "scopes": ["billing:read"], "pepper": PEPPER}
    return await create_key(database_url, **values | options)  # type: ignore[arg-type]


async def row_of(api: Api, key: str) -> ApiKey:
    [row] = await api.all(select(ApiKey).where(ApiKey.prefix == key[:12]))
    return row  # type: ignore[no-any-return]


async def test_the_last_use_is_noted_now_and_then(api: Api, database_url: str) -> None:
    key = await made(database_url)
    assert (await row_of(api, key)).last_used_at is None
    assert await get_with(api, key) == 200
    first = (await row_of(api, key)).last_used_at
    assert first is not None
    assert now() - first < timedelta(minutes=1)
    assert await get_with(api, key) == 200
    assert (await row_of(api, key)).last_used_at == first


async def test_a_rotated_key_works_beside_the_new_one_until_the_overlap_ends(
    api: Api, database_url: str
) -> None:
    old = await made(database_url, requests_per_minute=77)
    new = await rotate_key(database_url, old[:12], overlap=timedelta(hours=1), pepper=PEPPER)

    assert [await get_with(api, key) for key in (old, new)] == [200, 200]
    before, after = await row_of(api, old), await row_of(api, new)
    assert before.expires_at is not None
    assert timedelta(minutes=59) < before.expires_at - now() < timedelta(minutes=61)
    assert (after.application_id, after.scopes) == (before.application_id, before.scopes)
    assert (after.requests_per_minute, after.expires_at) == (77, None)

    hour_ago = now() - timedelta(seconds=1)
    await api.run(update(ApiKey).where(ApiKey.id == before.id).values(expires_at=hour_ago))
    assert [await get_with(api, key) for key in (old, new)] == [401, 200]


async def test_a_rotation_lengthens_no_life(api: Api, database_url: str) -> None:
    soon = now() + timedelta(minutes=5)
    old = await made(database_url, expires_at=soon)
    new = await rotate_key(database_url, old[:12], overlap=timedelta(days=7), pepper=PEPPER)
    assert (await row_of(api, old)).expires_at == soon
    ends_at = (await row_of(api, new)).expires_at
    assert ends_at is not None
    assert ends_at - now() < timedelta(minutes=6)  # As long a life as the old one was given.


async def test_only_a_key_that_is_on_is_rotated(api: Api, database_url: str) -> None:
    key = await made(database_url)
    await revoke_key(database_url, key[:12])
    for named in (key[:12], "abk_nobody00", str(now())):
        with pytest.raises(ValueError, match="No key that is on"):
            await rotate_key(database_url, named, overlap=timedelta(0), pepper=PEPPER)
    assert len(await list_keys(database_url)) == 3  # The two tenants' own, and the revoked one.


async def test_a_line_says_what_becomes_of_a_key(api: Api, database_url: str) -> None:
    key = await made(database_url, expires_at=now() + timedelta(days=3), requests_per_minute=30)
    [info] = [one for one in await list_keys(database_url) if key.startswith(one.prefix)]
    line = str(info)
    assert all(word in line for word in ("Ours", "billing:read", "active", "until", "30/min"))
    assert "never used" in line
    assert key not in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rotate", "abk_nobody00"], "No key that is on has the id or prefix abk_nobody00."),
        (["revoke", "abk_nobody00"], "No key that is on has the id or prefix abk_nobody00."),
        (["create", "--application", "A", "--scope", "everything"], "Unknown: everything."),
        (["create", "--application", " "], "An application needs a name."),
        (["create", "--application", "A", "--expires-in-days", "0"], "Invalid value"),
        (["create"], "Missing option"),
        (["rotate", "abk_nobody00", "--overlap-hours", "-1"], "Invalid value"),
    ],
)
def test_a_mistake_is_one_line(
    one_database: str,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", one_database)
    assert run(["keys", *arguments]) != 0
    out = capsys.readouterr()
    assert out.out == ""
    assert said in out.err
    assert out.err.count("\n") == 1


def test_a_key_is_made_and_rotated_at_the_command_line(
    one_database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", one_database)
    assert run(["keys", "create", "--application", "Shop", "--expires-in-days", "30"]) == 0
    key = capsys.readouterr().out.strip()
    assert run(["keys", "rotate", key[:12], "--overlap-hours", "0.5"]) == 0
    other = capsys.readouterr().out.strip()
    assert run(["keys", "revoke", key[:12]]) == 0
    assert capsys.readouterr().out == f"{key[:12]} is revoked.\n"
    assert run(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert key != other
    assert {key[:4], other[:4]} == {"abk_"}
    assert [line.split()[-3] for line in listed.splitlines() if key[:12] in line] == ["revoked"]
    assert key not in listed
    assert other not in listed
