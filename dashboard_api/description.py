"""The API's description: OpenAPI 3.1, with examples and every error."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import JSONResponse, Response

from dashboard_api.access import CSRF_HEADER, SAFE_METHODS
from dashboard_api.live.schemas import EVENTS as LIVE_EVENTS
from dashboard_api.problems import ProblemBody
from dashboard_api.schemas import Body, Schema

PATH = "/api/v1/openapi.json"
_DESCRIPTION = """\
The HTTP interface of smart-estate. Times are milliseconds since the Unix epoch (UTC), names are
in snake_case, and texts for people come in Chinese (`zh`) and English (`en`). Sign in first: the
cookie `estate_session` carries the session, and unsafe requests need its CSRF token in the
header `X-Estate-CSRF`. Errors are problem+json (RFC 9457). See `docs/api.md`.
"""
_TAGS = [
    {"name": "system", "description": "Health, processes, counters, clock."},
    {"name": "session", "description": "Signing in and out."},
    {"name": "tree", "description": "The street's tree with its colours."},
    {"name": "alerts", "description": "Alerts, acknowledgements and comments."},
    {"name": "devices", "description": "Devices, their presence and events."},
    {"name": "commands", "description": "Asking devices and edges for something."},
    {"name": "series", "description": "Time series."},
    {"name": "colours", "description": "The past of the colours."},
    {"name": "edges", "description": "Edges and declared losses."},
    {"name": "letters", "description": "Dead letters, and putting them back."},
    {"name": "quarantine", "description": "Unknown devices and edges, and adopting them."},
    {"name": "media", "description": "Snapshots."},
    {"name": "live", "description": "Every change as it happens."},
]


def describe(app: FastAPI) -> None:
    """Give an app its description, and a route that answers with it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way

    @app.get(PATH, include_in_schema=False)
    async def read_description() -> Response:
        return JSONResponse(app.openapi())


def _build(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        summary="IoT edge and monitoring for streets, communities and the sites in them",
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        tags=_TAGS,
        routes=app.routes,
    )
    components = schema.setdefault("components", {})
    models = components.setdefault("schemas", {})
    wanted: list[type[BaseModel]] = [ProblemBody, *LIVE_EVENTS.values()]
    _, extra = models_json_schema(
        [(model, "serialization") for model in wanted],
        ref_template="#/components/schemas/{model}",
    )
    for name, model in extra["$defs"].items():
        models.setdefault(name, model)
    _restore_examples(models)
    for unused in ("HTTPValidationError", "ValidationError"):
        models.pop(unused, None)
    components.setdefault("securitySchemes", {})["csrf"] = {
        "type": "apiKey",
        "in": "header",
        "name": CSRF_HEADER,
        "description": "The `csrf` of the session.",
    }
    for path in schema["paths"].values():
        for method, operation in path.items():
            _complete(method.upper(), operation)
    return schema


def _restore_examples(models: dict[str, Any]) -> None:
    """Put the examples back as they are written: FastAPI strips every null from them."""
    for model in (*_family(Schema), *_family(Body)):
        extra = model.model_config.get("json_schema_extra")
        if model.__name__ in models and isinstance(extra, dict):
            models[model.__name__]["examples"] = extra["examples"]


def _family(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [model, *(one for child in model.__subclasses__() for one in _family(child))]


def _complete(method: str, operation: dict[str, Any]) -> None:
    """Unsafe operations need the CSRF token beside the session, not instead of it."""
    needs = operation.get("security")
    if needs and method not in SAFE_METHODS:
        operation["security"] = [{"session": [], "csrf": []}]
    if not needs:
        operation["security"] = []
    answers = operation["responses"]
    answer = answers.get("422", {}).get("content", {})
    if "application/json" in answer:  # FastAPI's own shape, which is never sent
        del answers["422"]
