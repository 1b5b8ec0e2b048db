"""JSON Schemas and the AsyncAPI document, generated from the models.

``python -m core.contracts.schema`` writes ``docs/schemas/*.json`` and ``docs/asyncapi.yaml``;
with ``--check`` it writes nothing and fails where they are not what the models say.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from core.contracts import batch as b
from core.contracts import commands as c
from core.contracts.asyncapi import document, to_yaml
from core.contracts.events import COLLECTOR_KINDS, EVENT_MODELS, ID_PATTERN, KINDS, Lane
from core.contracts.topology import Topology
from core.contracts.vocabulary import EpochMs
from core.contracts.wire import AlertMessage, SiteColours

DOCS = Path(__file__).resolve().parents[2] / "docs"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_POINTER = "#/components/schemas/"

Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 -- the base's name
        return False


def _tidy(value: Any) -> Any:
    r"""Write integral limits as integers, texts in one line, and Python's ``\Z`` as ``$``."""
    if isinstance(value, dict):
        return {key: _tidy(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_tidy(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return " ".join(value.replace("``", "`").split()).replace(r"\Z", "$")
    return value


def _model_schemas() -> dict[str, Schema]:
    models: list[type[BaseModel]] = [*EVENT_MODELS.values(), AlertMessage, SiteColours]
    _, found = models_json_schema(
        [(model, "validation") for model in models],
        ref_template=_POINTER + "{model}",
        schema_generator=_Generator,
    )
    schemas: dict[str, Schema] = found["$defs"]
    return schemas


def _struct_schemas() -> dict[str, Schema]:
    structs = [b.Receipt, b.EdgeStatus, b.CollectorStatus, b.MediaHeader, c.Command, c.Reply]
    _, found = msgspec.json.schema_components(structs, ref_template=_POINTER + "{name}")
    # User properties are texts, so each value of a media header is one.
    header = found["MediaHeader"]["properties"]
    for name, field in header.items():
        if field["type"] == "integer":
            header[name] = {"type": "string", "pattern": "^[0-9]{1,16}$"}
    return found


def _event(kinds: list[str], what: str) -> Schema:
    return {
        "description": what,
        "discriminator": "kind",
        "oneOf": [{"$ref": _POINTER + EVENT_MODELS[kind].__name__} for kind in kinds],
    }


def _batch() -> Schema:
    (_, struct), *_ = msgspec.json.schema_components([b._Sealed], ref_template="{name}")[1].items()  # noqa: SLF001 -- the envelope, which only this package knows
    lanes = [lane.value for lane in Lane if lane is not Lane.MEDIA]
    return {
        "title": "Batch",
        "description": "Events of one lane, sealed together. The names stand in this order:"
        " a digest over the text from `sealed_at` on recognises a reused identity.",
        "type": "object",
        "properties": {
            **struct["properties"],
            "lane": {"enum": lanes, "description": "The lane of every event in the batch."},
            "events": {
                "type": "array",
                "minItems": 1,
                "maxItems": b.MAX_EVENTS,
                "items": {"$ref": _POINTER + "Event"},
            },
            "v": {
                "type": "integer",
                "minimum": 1,
                "maximum": b.VERSION,
                "default": 1,
                "description": "The wire's version, after `sealed_at`; left out in version 1."
                " What is newer than the collector waits in its dead letters.",
            },
        },
        "required": [*struct["required"], "events"],
        "additionalProperties": False,
    }


def _plain_event() -> Schema:
    moment = _model_field(EpochMs)
    kinds = [k for k in KINDS if not k.startswith("edge.") and k != "device.snapshot"]
    return {
        "title": "PlainEvent",
        "description": "One event of a device without an edge agent. The device comes from the"
        " topic, and the times are those of arrival, where they are left out.",
        "type": "object",
        "properties": {
            "kind": {"enum": kinds},
            "at": {"anyOf": [moment, {"type": "string", "format": "date-time"}]},
            "seen": moment,
            "device": {"type": "string", "pattern": ID_PATTERN},
            "id": {"anyOf": [{"type": "string", "maxLength": 64}, {"type": "null"}]},
            "data": {"type": "object"},
        },
        "required": ["kind", "data"],
        "additionalProperties": False,
        "oneOf": [
            {
                "properties": {
                    "kind": {"const": kind},
                    "data": {"$ref": _POINTER + KINDS[kind].data.__name__},
                }
            }
            for kind in kinds
        ],
    }


def _model_field(annotation: Any) -> Schema:
    return TypeAdapter(annotation).json_schema()


def components() -> dict[str, Schema]:
    """Return every schema of the wire by name; references point into an AsyncAPI document."""
    sendable = [kind for kind in KINDS if kind not in COLLECTOR_KINDS]
    found = {
        **_model_schemas(),
        **_struct_schemas(),
        "Event": _event(sendable, "Any event that an edge may send."),
        "Batch": _batch(),
        "PlainEvent": _plain_event(),
    }
    tidy: dict[str, Schema] = _tidy(found)
    return dict(sorted(tidy.items()))


def _standalone(name: str, all_schemas: dict[str, Schema]) -> Schema:
    """Return one schema with everything that it refers to in its own ``$defs``."""
    wanted, todo = set[str](), [name]
    while todo:
        for reference in _references(all_schemas[todo.pop()]):
            if reference not in wanted:
                wanted.add(reference)
                todo.append(reference)
    schema: Schema = {"$schema": _DIALECT, **all_schemas[name]}
    if wanted:
        schema["$defs"] = {name: all_schemas[name] for name in sorted(wanted)}
    moved: Schema = json.loads(json.dumps(schema).replace(_POINTER, "#/$defs/"))
    plain: Schema = _without_discriminator(moved)
    return plain


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = set[str]().union(*map(_references, value.values()))
        reference = value.get("$ref")
        return found | ({reference.removeprefix(_POINTER)} if isinstance(reference, str) else set())
    if isinstance(value, list):
        return set[str]().union(*map(_references, value))
    return set()


def _without_discriminator(value: Any) -> Any:
    # A text there is AsyncAPI's; JSON Schema does not have the word.
    if isinstance(value, dict):
        return {
            key: _without_discriminator(inner)
            for key, inner in value.items()
            if not (key == "discriminator" and isinstance(inner, str))
        }
    return [_without_discriminator(item) for item in value] if isinstance(value, list) else value


def documents() -> dict[str, str]:
    """Return every generated document: its path under ``docs`` and its text."""
    schemas = components()
    files = {EVENT_MODELS[kind].__name__: kind for kind in KINDS} | {
        "Event": "event", "Batch": "batch", "PlainEvent": "plain-event", "Receipt": "receipt",
        "EdgeStatus": "edge-status", "CollectorStatus": "collector-status",
        "MediaHeader": "media-header", "AlertMessage": "alert", "SiteColours": "site-colours",
    }  # fmt: skip
    found = {
        f"schemas/{file}.json": _to_json(_standalone(name, schemas)) for name, file in files.items()
    }
    topology = _tidy(Topology.model_json_schema(schema_generator=_Generator))
    found["schemas/topology.json"] = _to_json({"$schema": _DIALECT, **topology})
    found["asyncapi.yaml"] = to_yaml(document(schemas))
    return dict(sorted(found.items()))


def _to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def stale(folder: Path) -> list[str]:
    """Return the paths under ``folder`` that are not what the models say."""
    wanted = documents()
    there = {f"schemas/{file.name}" for file in (folder / "schemas").glob("*.json")}
    wrong = there - wanted.keys()
    for path, text in wanted.items():
        file = folder / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            wrong.add(path)
    return sorted(wrong)


def main(arguments: list[str]) -> int:
    """Write the documents, or with ``--check`` tell which are not current."""
    wrong = stale(DOCS)
    if "--check" in arguments:
        for path in wrong:
            sys.stderr.write(f"docs/{path} is not current: run `make docs`\n")
        return 1 if wrong else 0
    wanted = documents()
    (DOCS / "schemas").mkdir(parents=True, exist_ok=True)
    for path in wrong:
        if path in wanted:
            (DOCS / path).write_text(wanted[path], encoding="utf-8")
        else:
            (DOCS / path).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
