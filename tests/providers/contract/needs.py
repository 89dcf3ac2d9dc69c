"""What a test of the contract needs of a provider: its `needs` marks, also those of its parameters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from providers.capabilities import Capability


def needs(*capabilities: Capability) -> pytest.MarkDecorator:
    return pytest.mark.needs(*capabilities)


def needed_by(item: pytest.Item) -> Iterator[Capability]:
    for mark in item.iter_markers("needs"):
        yield from mark.args
