"""The deployment files, as far as they can be held without a Docker engine: they are valid, they agree with
the code, and the commands that they give start Abono with nothing but the variables that they give."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML
from temporalio.testing import WorkflowEnvironment

from abono.dev.ports import LOCALHOST, spare_port
from tests.support.database import TestDatabases

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
START_SECONDS_MAX = 40
NAMESPACE = SERVICES["migrate"]["environment"]["TEMPORAL_NAMESPACE"]


def test_the_compose_file_is_what_its_schema_says() -> None:
    options = ["--builtin-schema", "vendor.compose-spec", str(ROOT / "docker-compose.yml")]
    command = [str(PROGRAMS / "check-jsonschema"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_variable_is_documented_and_has_its_example() -> None:
    documented = (ROOT / "docs/environment.md").read_text()
    example = (ROOT / ".env.example").read_text()
    for service in OURS:
        for name in SERVICES[service]["environment"]:
            assert f"`{name}`" in documented, name
    text = (ROOT / "docker-compose.yml").read_text()
    for name, default in re.findall(r"\$\{(\w+)(:[-?][^}]*)?\}", text):
        assert default, f"{name} has no default and says nothing when it is missing"
        if default.startswith(":?"):
            assert re.search(rf"^{name}=$", example, re.MULTILINE), name
    for name in re.findall(r"^(\w+)=", example, re.MULTILINE):
        assert name in text, f"{name} is in the example and nobody reads it"


def test_files_that_services_mount_are_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), source


def test_the_image_holds_every_package() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    packages = set(wheel["targets"]["wheel"]["packages"])
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    kept = set(re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert copied == packages
    assert packages <= kept


def test_health_is_asked_where_the_api_listens() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert SERVICES["api"]["ports"][0].endswith(":8080")
    assert "http://127.0.0.1:8080/readyz" in dockerfile


@asynccontextmanager
async def running(service: str, environment: Mapping[str, str], home: Path) -> AsyncIterator[Any]:
    """The service's own command and nothing of this process's environment; stopped as Docker stops it."""
    folder = home / service
    folder.mkdir()
    program, *arguments = SERVICES[service]["command"]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROGRAMS / program,
            *arguments,
            cwd=folder,
            env={**environment, "ABONO_HOME": str(folder)},
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def variables(service: str, places: Mapping[str, str]) -> dict[str, str]:
    """As Docker fills them in from an `.env` with the two secrets and keys of the sandbox, and with the
    places that names like `postgres:5432` stand for."""
    chosen = {
        "POSTGRES_PASSWORD": "postgres",
        "ABONO_API_KEY_PEPPER": "pepper",
        "STRIPE_API_KEY": "sk_test_sandbox",
        "STRIPE_API_BASE": "http://sandbox:8090/stripe",
    }
    found = {}
    for name, template in SERVICES[service]["environment"].items():
        text = re.sub(
            r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}",
            lambda match: chosen.get(match[1], match[2] or ""),
            str(template),
        )
        for place, real in places.items():
            text = text.replace(place, real)
        found[name] = text
    return found


async def until_healthy(address: str, path: str, process: Any) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        async with asyncio.timeout(START_SECONDS_MAX):
            while process.returncode is None:
                try:
                    if (await client.get(path)).status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)
    pytest.fail("it ended before it was ready")


async def until_there(file: Path, process: Any) -> None:
    async with asyncio.timeout(START_SECONDS_MAX):
        while process.returncode is None:
            if await asyncio.to_thread(file.exists):
                return
            await asyncio.sleep(0.1)
    pytest.fail("it ended before it was ready")


async def test_the_services_start_with_what_the_file_gives_them(
    databases: TestDatabases, tmp_path: Path
) -> None:
    database_url = await databases.create(empty=True)
    temporal = await WorkflowEnvironment.start_local(
        namespace=NAMESPACE, dev_server_existing_path=str(PROGRAMS / "temporal")
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(databases.drop, database_url)
        stack.push_async_callback(temporal.shutdown)
        api_port = stack.enter_context(spare_port())
        sandbox_port = stack.enter_context(spare_port())
        places = {
            "postgresql://abono:postgres@postgres:5432/abono": database_url,
            "temporal:7233": temporal.client.service_client.config.target_host,
            "sandbox:8090": f"{LOCALHOST}:{sandbox_port}",
            "8090": str(sandbox_port),
        }
        for start in ("first", "second"):
            home = tmp_path / start
            home.mkdir()
            async with running("migrate", variables("migrate", places), home) as migrate:
                assert await migrate.wait() == 0, (home / "migrate/log").read_text()
        started = {}
        for service in ("sandbox", "worker", "api"):
            environment = variables(service, places)
            if service == "api":
                environment |= {"ABONO_API_HOST": "0.0.0.0", "ABONO_API_PORT": str(api_port)}
            started[service] = await stack.enter_async_context(
                running(service, environment, tmp_path)
            )
        await until_healthy(f"http://{LOCALHOST}:{api_port}", "/readyz", started["api"])
        check = SERVICES["worker"]["healthcheck"]["test"]
        ready = check[-1].replace("/var/lib/abono", str(tmp_path / "worker"))
        await until_there(Path(ready), started["worker"])
        await until_healthy(
            f"http://{LOCALHOST}:{sandbox_port}", "/_control/charges", started["sandbox"]
        )
        for process in started.values():
            process.terminate()
        codes = {name: await process.wait() for name, process in started.items()}
        # uvicorn ends by the signal that it was sent, once everything is answered.
        by_signal = -signal.SIGTERM
        assert codes == {"sandbox": by_signal, "worker": 0, "api": by_signal}
