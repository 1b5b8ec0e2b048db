"""Shapes that several features share."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from core.contracts.events import ID_PATTERN
from core.contracts.topology import Level
from dashboard_api.problems import responses

SEQUENCE_HEADER = "X-Estate-Sequence"
#: The first ms of the year 2100; no time lies beyond it.
LAST_MS = 4_102_444_800_000

Ms = Annotated[int, Field(examples=[1_763_000_000_000])]
"""Milliseconds since the Unix epoch (UTC)."""
MsQuery = Annotated[int, Query(ge=0, le=LAST_MS, examples=[1_763_000_000_000])]
IdQuery = Annotated[str, Query(pattern=ID_PATTERN)]
IdPath = Annotated[str, Path(pattern=ID_PATTERN)]
LimitQuery = Annotated[int, Query(ge=1, le=500)]
BeforeQuery = Annotated[str | None, Query(max_length=100)]
"""A page's ``next``, to have the page that follows it."""


class Schema(BaseModel):
    """Base of what the API answers; docstrings of the fields go into OpenAPI."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Body(BaseModel):
    """Base of what the API takes; unknown fields are refused."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")


class Names(Schema):
    """A text in both languages."""

    zh: str
    en: str


class PathPart(Schema):
    """One node on the way from the street down to something."""

    id: str
    name: Names
    level: Level


def example(value: dict[str, Any]) -> ConfigDict:
    """Return a model configuration with one example."""
    return ConfigDict(json_schema_extra={"examples": [value]})


def with_sequence(*problems: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of an answer that names its place in the live sequence."""
    return {
        200: {
            "headers": {
                SEQUENCE_HEADER: {
                    "description": "The live sequence's number at which this answer was true: "
                    "follow `/api/v1/live?since=` from here.",
                    "schema": {"type": "integer"},
                }
            }
        },
        **responses(*problems),
    }
