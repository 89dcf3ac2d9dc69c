"""The generated parts of docs/providers.md are what the code says, and drift names the command to run."""

from __future__ import annotations

import pytest

from abono.dev.documents import PROVIDERS_PAGE, rendered
from abono.settings import Settings
from models.outcomes import ProviderName
from providers.capabilities import Capability

DRIFTED = "docs/providers.md is not what the code says: run `make docs` and commit the file"


def test_the_page_is_what_the_code_says() -> None:
    text = PROVIDERS_PAGE.read_text()
    assert rendered(text) == text, DRIFTED


def test_every_capability_and_provider_is_in_it() -> None:
    text = PROVIDERS_PAGE.read_text()
    for capability in Capability:
        assert f"| `{capability}` |" in text, DRIFTED
    for name in ProviderName:
        assert f"\n## {name.capitalize()}\n" in text, f"nothing says how to set {name} up"


def test_it_names_the_version_header_that_is_sent_by_default() -> None:
    assert f"`{Settings.model_fields['conekta_version_header'].default}`" in (
        PROVIDERS_PAGE.read_text()
    )


def test_what_people_changed_in_a_table_is_put_right_and_the_rest_left_alone() -> None:
    text = PROVIDERS_PAGE.read_text()
    drifted = text.replace("| `trial` |", "| `trail` |") + "\nA sentence of ours.\n"
    assert drifted.count("trail") == 1
    assert rendered(drifted) == text + "\nA sentence of ours.\n"


@pytest.mark.parametrize("lost", ["<!-- make docs: capabilities -->", "<!-- end: capabilities -->"])
def test_a_lost_marker_is_said(lost: str) -> None:
    text = PROVIDERS_PAGE.read_text()
    with pytest.raises(ValueError, match="capabilities"):
        rendered(text.replace(lost, ""))
