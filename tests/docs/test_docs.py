"""Holds the documents to the code: links, error codes, variables, make targets, events, the glossary.

Goal: a document that became wrong fails here, in the change that made it wrong. Method: read both as
text; nothing is started, so the whole file takes well under three seconds.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from http import HTTPStatus
from pathlib import Path

import pytest

from abono.dev.ports import DEFAULT_PORTS, variable
from abono.dev.sandbox import SANDBOX_PREFIX
from abono.settings import Settings
from models.event_catalogue import EVENT_TYPES, TEST_EVENT
from models.states import TRANSITIONS, SubscriptionEvent, SubscriptionStatus
from sandbox.core import SandboxConfig

ROOT = Path(__file__).parents[2]
SOURCE_FOLDERS = ("abono", "activities", "api", "models", "providers", "sandbox", "workflows")
UNREAD_FOLDERS = {".venv", ".tools", ".abono", ".git", ".pytest_cache", ".mypy_cache"}
# Raised by the framework, not by us: `api.problems` makes the code from the status.
FRAMEWORK_CODES = {HTTPStatus.METHOD_NOT_ALLOWED.phrase.lower().replace(" ", "_")}
# Read by the command line itself, before there are settings.
COMMAND_LINE_VARIABLES = {"ABONO_DEBUG"}
# Whoever reads needs these hosts: examples, this machine, and the pages of standards we follow.
HOSTS = {
    "127.0.0.1",
    "barcodes.conekta.com",
    "keepachangelog.com",
    "semver.org",
    "temporal.io",
    "www.apache.org",
    "www.standardwebhooks.com",
    "your-host",
}
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|root|home|tmp|mnt|Users)/")


@cache
def documents() -> list[Path]:
    found = [
        path
        for path in ROOT.rglob("*.md")
        if not UNREAD_FOLDERS.intersection(path.relative_to(ROOT).parts)
    ]
    return sorted([*found, ROOT / "LICENSE"])


def by_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(name: str) -> str:
    return (ROOT / name).read_text()


def first_cells(text: str, heading: str) -> list[str]:
    """The code words in the first column of the tables below a `##` heading, up to the next one."""
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row.split("|")[1])]


def slug(heading: str) -> str:
    """The anchor that renderers make of a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.strip().replace(" ", "-")


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {slug(heading) for heading in headings}


@cache
def calls_and_classes() -> list[ast.AST]:
    """Every call and class of the code that raises errors and emits events."""
    nodes: list[ast.AST] = []
    for folder in ("api", "models", "workflows"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text())
            nodes += [n for n in ast.walk(tree) if isinstance(n, ast.Call | ast.ClassDef)]
    return nodes


def called_name(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def text_of(node: ast.AST | None) -> str | None:
    found = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return str(node.value) if found and isinstance(node, ast.Constant) else None


def codes_given_to(names: set[str]) -> Iterator[str]:
    for node in calls_and_classes():
        if isinstance(node, ast.Call) and called_name(node) in names:
            for keyword in node.keywords:
                code = text_of(keyword.value) if keyword.arg == "code" else None
                if code is not None:
                    yield code


def told_by_activities() -> Iterator[str]:
    """What is told without a workflow's decision: by `_tell("…")`, or out of a table `_TOLD`."""
    for path in [*(ROOT / "activities").glob("*.py"), *(ROOT / "api" / "outbound").glob("*.py")]:
        text = path.read_text()
        yield from re.findall(r'_tell\(\s*"([a-z_.]+)"', text)
        for table in re.findall(r"^_TOLD = \{(.*?)\}", text, re.DOTALL | re.MULTILINE):
            yield from re.findall(r'"([a-z_.]+)"', table)


def error_classes() -> dict[str, str]:
    """Name and default code of every AbonoError, wherever it is defined."""
    classes = [node for node in calls_and_classes() if isinstance(node, ast.ClassDef)]
    known = {"AbonoError": "internal_error"}
    for _ in classes:  # As deep as there are classes; a handful of rounds do.
        before = len(known)
        for node in classes:
            parents = [base.id for base in node.bases if isinstance(base, ast.Name)]
            inherited = next((known[parent] for parent in parents if parent in known), None)
            if inherited is not None:
                known.setdefault(node.name, default_code(node) or inherited)
        if len(known) == before:
            break
    return known


def default_code(node: ast.ClassDef) -> str | None:
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            if "default_code" in names:
                return text_of(statement.value)
    return None


@pytest.mark.parametrize("path", documents(), ids=by_name)
def test_every_relative_link_resolves(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), f"{by_name(path)}: nothing is at {target}"
        assert linked.is_relative_to(ROOT), f"{by_name(path)}: {target} leaves the repository"
        if anchor:
            assert anchor in anchors(linked), f"{by_name(path)}: no heading for {target}"


@pytest.mark.parametrize("path", documents(), ids=by_name)
def test_no_document_names_a_machine_or_a_stranger(path: Path) -> None:
    text = path.read_text()
    assert not MACHINE_PATHS.search(text), f"{by_name(path)} names a folder of some machine"
    hosts = set(re.findall(r"https?://([^\s/:#)`\"'<>|…]+)", text))
    strange = {h for h in hosts if h not in HOSTS and not h.endswith(".example")}
    assert not strange, f"{by_name(path)} names {strange}: allow them in HOSTS, or leave them out"


def test_api_errors_lists_exactly_the_codes_of_the_code() -> None:
    classes = error_classes()
    raised = set(codes_given_to(set(classes))) | set(classes.values()) | FRAMEWORK_CODES
    documented = first_cells(read("docs/api-errors.md"), "Codes")
    assert len(documented) == len(set(documented)), "a code is listed twice"
    assert set(documented) == raised


def test_api_errors_lists_exactly_the_reasons_of_the_routing_rules() -> None:
    documented = first_cells(read("docs/api-errors.md"), "Why no provider can collect")
    assert set(documented) == set(codes_given_to({"Refusal"}))


def test_environment_lists_exactly_the_variables_that_are_read() -> None:
    settings = {str(field.alias) for field in Settings.model_fields.values()}
    ports = {variable(name) for name in DEFAULT_PORTS}
    sandbox = {SANDBOX_PREFIX + field.name.upper() for field in fields(SandboxConfig)}
    sandbox.add(SANDBOX_PREFIX + "HOST")
    wanted = settings | ports | sandbox | COMMAND_LINE_VARIABLES
    rows = [line for line in read("docs/environment.md").splitlines() if line.startswith("| `")]
    documented = {found for row in rows for found in re.findall(r"^\| `([A-Z0-9_]+)`", row)}
    assert documented == wanted
    command_line = read("abono/cli.py")
    assert all(name in command_line for name in COMMAND_LINE_VARIABLES)


def test_concepts_lists_exactly_the_events_that_are_told() -> None:
    emitted = {
        text_of(node.args[0])
        for node in calls_and_classes()
        if isinstance(node, ast.Call) and called_name(node) == "emit" and node.args
    } - {None}
    by_status = re.search(
        r"OUTBOUND_BY_STATUS.*?= \{(.*?)\n\}", read("workflows/desk.py"), re.DOTALL
    )
    assert by_status is not None
    emitted |= set(re.findall(r'"(subscription\.\w+)"', by_status.group(1)))
    emitted |= set(told_by_activities())
    documented = first_cells(read("docs/concepts.md"), "Events for the application")
    assert set(documented) == emitted
    assert EVENT_TYPES - {TEST_EVENT} == emitted, "models/event_catalogue.py has other events"


def test_concepts_has_the_transition_table_of_the_code() -> None:
    text = read("docs/concepts.md").split("| event | from", 1)[1]
    origins = [status for status in SubscriptionStatus if any(s is status for s, _ in TRANSITIONS)]
    for event in SubscriptionEvent:
        row = re.search(rf"^\| `{event}` \|(.*)\|$", text, re.MULTILINE)
        assert row is not None, f"no row for {event}"
        cells = [cell.strip() for cell in row.group(1).split("|")]
        expected = [str(TRANSITIONS.get((status, event), "")) for status in origins]
        assert cells == expected, f"the row of {event}"


def test_the_glossary_has_each_term_once_in_order() -> None:
    rows = [line for line in read("docs/glossary.md").splitlines() if line.startswith("| ")][1:]
    terms = [row.split("|")[1].strip() for row in rows]
    assert [term for term, count in Counter(terms).items() if count > 1] == []
    assert terms == sorted(terms, key=lambda term: term.lower().replace("_", " "))
    assert all(row.split("|")[2].strip() for row in rows), "a term without its Spanish word"


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    mentions = re.compile(r"(?:`|^|\s)make ([a-z]+)(?=[`\s.,;)]|$)", re.MULTILINE)
    for path in documents():
        code = "\n".join(re.findall(r"`[^`\n]+`|```.*?```", path.read_text(), re.DOTALL))
        missing = set(mentions.findall(code)) - targets
        assert not missing, f"{by_name(path)} mentions make {missing}"


def test_readme_gives_the_command_that_runs_the_tests() -> None:
    assert "make test" in read("README.md")
    assert "make test" in read(".ci/run")


def test_every_decision_is_listed_and_whole() -> None:
    index = read("docs/README.md")
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in files] == list(range(1, len(files) + 1))
    for path in files:
        assert f"decisions/{path.name}" in index, f"{path.name} is not in docs/README.md"
        headings = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives"]


def test_every_package_says_what_it_owns() -> None:
    for folder in SOURCE_FOLDERS:
        text = read(f"{folder}/README.md")
        assert "**Owns**" in text, f"{folder}/README.md"
        assert "**Does not own**" in text, f"{folder}/README.md"
