"""The API's description is valid, complete, and the one in docs/."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from core.runtime.settings import ApiSettings
from dashboard_api import openapi
from dashboard_api.access import Needs
from dashboard_api.app import create_app
from dashboard_api.problems import MEDIA_TYPE
from tests.api.harness import NOW, Running, alert

DESCRIPTION: dict[str, Any] = create_app(None, ApiSettings()).openapi()
OPERATIONS = [
    (path, method, operation)
    for path, operations in DESCRIPTION["paths"].items()
    for method, operation in operations.items()
]


def test_docs_are_current() -> None:
    assert openapi.FILE.read_text(encoding="utf-8") == openapi.render(), (
        "run: python -m dashboard_api.openapi"
    )


def test_it_is_valid_and_the_same_each_time() -> None:
    validate(DESCRIPTION)
    assert create_app(None, ApiSettings()).openapi() == DESCRIPTION


def test_every_operation_is_described() -> None:
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in DESCRIPTION["tags"]}
    for path, method, operation in OPERATIONS:
        assert set(operation["tags"]) <= tags
        assert operation["summary"], (path, method)
        assert operation["description"], (path, method)
        answers = operation["responses"]
        if operation["security"]:
            assert MEDIA_TYPE in answers["401"]["content"], path
        if operation["security"] and method != "get":
            assert MEDIA_TYPE in answers["403"]["content"], path
            assert operation["security"] == [{"session": [], "csrf": []}]
        if operation.get("parameters") and path.startswith("/api/"):
            assert MEDIA_TYPE in answers["422"]["content"], path


def test_every_guarded_route_declares_the_role_that_it_needs() -> None:
    app = create_app(None, ApiSettings())

    def routes(router: Any) -> list[APIRoute]:
        found = []
        for route in router.routes:
            if isinstance(route, APIRoute):
                found.append(route)
            elif hasattr(route, "original_router"):
                found += routes(route.original_router)
        return found

    guarded = {operation["operationId"] for _, _, operation in OPERATIONS if operation["security"]}
    declared = {
        route.name
        for route in routes(app)
        if any(isinstance(part.call, Needs) for part in route.dependant.dependencies)
    }
    assert declared == guarded


def test_examples_are_examples() -> None:
    """Each example of a schema is valid by that schema."""
    seen = 0
    for name, model in DESCRIPTION["components"]["schemas"].items():
        for example in model.get("examples", ()):
            rooted = {"$ref": f"#/components/schemas/{name}", **DESCRIPTION}
            errors = list(Draft202012Validator(rooted).iter_errors(example))
            assert not errors, (name, errors)
            seen += 1
    assert seen >= 25


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/api/v1/health", "health"),
        ("/api/v1/session", "session"),
        ("/api/v1/tree", "tree"),
        ("/api/v1/devices", "devices"),
        ("/api/v1/devices/{device}", "devices/lift-1"),
        ("/api/v1/devices/{device}/events", "devices/meter-1/events"),
        (
            "/api/v1/series",
            f"series?device=meter-1&kind=meter.reading&field=power_w&start={NOW - 9000}&end={NOW}",
        ),
        ("/api/v1/alerts", "alerts?state=all"),
        ("/api/v1/alerts/{alert}", f"alerts/{alert(1).id}"),
        ("/api/v1/edges", "edges"),
        ("/api/v1/deadletters", "deadletters"),
        ("/api/v1/losses", "losses"),
        ("/api/v1/colours/history", f"colours/history?node=b1&start=0&end={NOW}"),
        ("/api/v1/system", "system"),
    ],
)
def test_what_is_answered_is_what_is_described(
    estate: Running, reader: httpx.Client, route: str, path: str
) -> None:
    schema = DESCRIPTION["paths"][route]["get"]["responses"]["200"]["content"]
    rooted = {**schema["application/json"]["schema"], **DESCRIPTION}
    answer = reader.get(f"/api/v1/{path}")
    assert answer.status_code == 200
    errors = list(Draft202012Validator(rooted).iter_errors(json.loads(answer.content)))
    assert not errors, errors
