"""Pydantic's JSON for what workflows and activities are given and give back.

The SDK makes a converter for each task of each workflow, and Pydantic's then learns our types anew: a
twentieth of a renewal's CPU. These share what they have learnt.
"""

from __future__ import annotations

from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter

_SHARED = tuple(PydanticPayloadConverter().converters.values())


class SharedPayloadConverter(CompositePayloadConverter):
    """Reads and writes what `PydanticPayloadConverter` does."""

    def __init__(self) -> None:
        super().__init__(*_SHARED)


plain_data_converter = DataConverter(payload_converter_class=SharedPayloadConverter)
