"""Turns the errors that a person can mend into one line; a bug keeps its stack trace."""

from __future__ import annotations

import sys
from typing import Any

from abono.dev.errors import DevError

_HINT_STACK = "Start a stack with `make up`, or set {variable}."


def explain(problem: BaseException) -> str | None:
    """One line for a person, or None when this looks like our own mistake."""
    if isinstance(problem, BaseExceptionGroup) and len(problem.exceptions) == 1:
        return explain(problem.exceptions[0])
    if isinstance(problem, DevError):
        return str(problem)
    for look in (_settings, _database, _temporal, _system):
        line = look(problem)
        if line is not None:
            return _one_line(line)
    return None


def _settings(problem: BaseException) -> str | None:
    validation = _loaded("pydantic", "ValidationError")
    if validation is None or not isinstance(problem, validation) or problem.title != "Settings":
        return None
    wrong = [f"{error['loc'][0]}: {error['msg']}" for error in problem.errors()]
    return "Settings are wrong. " + "; ".join(wrong)


def _database(problem: BaseException) -> str | None:
    hint = _HINT_STACK.format(variable="DATABASE_URL")
    wrong_url = _loaded("sqlalchemy.exc", "ArgumentError")
    another_database = isinstance(problem, ModuleNotFoundError) and _passed_through(
        problem, "sqlalchemy"
    )
    if another_database or (wrong_url is not None and isinstance(problem, wrong_url)):
        return "DATABASE_URL is not one of PostgreSQL (postgresql://user:password@host:port/name)."
    wrapped = _loaded("sqlalchemy.exc", "DBAPIError")
    if wrapped is not None and isinstance(problem, wrapped):
        cause = problem.orig
        return f"The database refuses: {cause}. {hint}" if _is_connecting(cause) else None
    if _is_connecting(problem):
        return f"The database refuses: {problem}. {hint}"
    if isinstance(problem, OSError) and _passed_through(problem, "asyncpg"):
        return f"Cannot reach PostgreSQL ({problem.strerror or problem}). {hint}"
    return None


def _is_connecting(problem: BaseException | None) -> bool:
    """Wrong password, unknown database, starting up: the classes 28, 3D and 57 of PostgreSQL."""
    if problem is None:
        return False
    state = getattr(problem, "sqlstate", None)
    return isinstance(state, str) and state[:2] in {"28", "3D", "57", "08", "53"}


def _temporal(problem: BaseException) -> str | None:
    if isinstance(problem, RuntimeError) and "Failed client connect" in str(problem):
        return "Cannot reach Temporal. " + _HINT_STACK.format(variable="TEMPORAL_ADDRESS")
    rpc_error = _loaded("temporalio.service", "RPCError")
    if rpc_error is not None and isinstance(problem, rpc_error):
        return f"Temporal refuses: {problem}."
    return None


def _system(problem: BaseException) -> str | None:
    if isinstance(problem, ModuleNotFoundError):
        return f"{problem.name} is not installed. Run `make up`, or `uv sync`."
    if isinstance(problem, OSError):
        where = f"{problem.filename}: " if problem.filename else ""
        return f"{where}{problem.strerror or problem}."
    return None


def _loaded(module: str, name: str) -> type[Any] | None:
    """The class, if its module was imported: what was not cannot have been raised."""
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def _passed_through(problem: BaseException, package: str) -> bool:
    trace = problem.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0] == package:
            return True
        trace = trace.tb_next
    return False


def _one_line(text: str) -> str:
    return " ".join(text.split())
