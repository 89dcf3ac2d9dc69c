"""`dev.json`: how everything else finds the stack that runs, and the settings that follow from it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from abono.dev.errors import AlreadyRunning, DevError
from abono.settings import Settings

DEFAULT_HOME = ".abono"


@dataclass(frozen=True)
class StackInfo:
    """What `dev.json` holds. `pids` follows restarts; read it anew when it matters."""

    api_url: str
    api_key: str
    admin_api_key: str
    database_url: str
    temporal_address: str
    temporal_namespace: str
    temporal_ui_url: str
    sandbox_url: str
    pids: dict[str, int] = field(default_factory=dict)


def info_file(home: Path) -> Path:
    return home / "dev.json"


def worker_ready_file(home: Path) -> Path:
    """The worker makes it when it polls (see `abono.worker`)."""
    return home / "run" / "worker.ready"


def environment_file(home: Path) -> Path:
    """What the supervisor set for its children, for commands that join the running stack."""
    return home / "run" / "environment.json"


def find_home() -> Path:
    """ABONO_HOME, else the nearest `.abono` from here upwards, else that of this checkout."""
    if named := os.environ.get("ABONO_HOME"):
        return Path(named).absolute()
    here = Path.cwd()
    checkout = Path(__file__).parents[2]
    for folder in (here, *here.parents, checkout):
        if info_file(folder / DEFAULT_HOME).exists():
            return folder / DEFAULT_HOME
    return here / DEFAULT_HOME


def read_info(home: Path) -> StackInfo | None:
    """None when no stack runs, or none that was ready."""
    try:
        raw = json.loads(info_file(home).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise DevError(f"Cannot read {info_file(home)}: {problem}.") from problem
    known = {f.name for f in fields(StackInfo)}
    try:
        return StackInfo(**{k: v for k, v in raw.items() if k in known})
    except (TypeError, AttributeError):
        raise DevError(f"{info_file(home)} is not whole.", "Start the stack anew.") from None


def find_running(home: Path) -> StackInfo | None:
    """The stack of this home, if it is up now."""
    info = read_info(home)
    return info if info is not None and is_locked(home) else None


def write_info(home: Path, info: StackInfo) -> None:
    write_private(info_file(home), asdict(info))


def write_private(file: Path, content: Any) -> None:
    """JSON that only this user may read; whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(content, out, indent=2)
        out.write("\n")
    os.replace(draft, file)


def load_settings() -> Settings:
    """The environment's settings; what it leaves open comes from the running stack, if any."""
    home = find_home()
    return Settings(**_overlay(home, os.environ))  # type: ignore[arg-type]


def _overlay(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    info = read_info(home)
    if info is None:
        return {}
    offered = {"ABONO_HOME": str(home), **_kept_environment(home)}
    offered |= {
        "DATABASE_URL": info.database_url,
        "TEMPORAL_ADDRESS": info.temporal_address,
        "TEMPORAL_NAMESPACE": info.temporal_namespace,
    }
    return {name: value for name, value in offered.items() if value and not environment.get(name)}


def _kept_environment(home: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        kept = json.loads(environment_file(home).read_text())
        return {str(name): str(value) for name, value in kept.items()}
    return {}


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold this home for one supervisor. The kernel lets go of it however the supervisor ends."""
    path = _lock_file(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(*_describe_running(home)) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def is_locked(home: Path) -> bool:
    """Whether a supervisor holds this home now."""
    try:
        with _lock_file(home).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _lock_file(home: Path) -> Path:
    return home / "run" / "supervisor.lock"


def _describe_running(home: Path) -> tuple[str, str]:
    pid = _lock_file(home).read_text().strip() or "unknown"
    info = read_info(home)
    where = f", API {info.api_url}" if info else ", still starting"
    return (
        f"Abono already runs here (process {pid}{where}).",
        f"Stop it with Ctrl-C or `kill {pid}`, or set ABONO_HOME for a second one.",
    )
