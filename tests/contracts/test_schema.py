"""The generated documents are current, valid and true to the models."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator
from msgspec.json import Decoder

from core.contracts import examples, topics
from core.contracts.asyncapi import document, to_yaml
from core.contracts.batch import (
    CollectorStatus,
    EdgeStatus,
    MediaHeader,
    Receipt,
    decode_batch,
    decode_media_header,
    decode_plain,
    decode_struct,
)
from core.contracts.codec import decode_event
from core.contracts.errors import ContractError
from core.contracts.events import KINDS
from core.contracts.schema import DOCS, components, documents, stale
from core.contracts.wire import AlertMessage, SiteColours
from core.storage.records.alerts import alert_view
from core.storage.records.models import AlertRow
from tests.contracts.strategies import nearly_valid, to_json, valid_event

SCHEMAS = {path: json.loads(text) for path, text in documents().items() if path.endswith(".json")}
VALIDATORS = {path: Draft202012Validator(schema) for path, schema in SCHEMAS.items()}
DOCUMENT = document(components())
TIMES = ["began_at", "raised_at", "noticed_at", "worsened_at", "cleared_at", "acknowledged_at"]


def accepted(path: str, value: Any) -> bool:
    return bool(VALIDATORS[f"schemas/{path}.json"].is_valid(value))


def test_the_documents_are_what_the_models_say() -> None:
    assert stale(DOCS) == [], "run `make docs`"
    assert documents() == documents()


@pytest.mark.parametrize("path", sorted(SCHEMAS))
def test_every_schema_is_a_schema(path: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[path])
    assert SCHEMAS[path]["description"]
    assert "components" not in json.dumps(SCHEMAS[path])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_an_example(kind: str) -> None:
    event = examples.EVENTS[kind]
    assert decode_event(json.dumps(event).encode()).kind == kind
    assert accepted(kind, event)
    assert not accepted(kind, {**event, "extra": 1})
    assert not accepted(kind, {**event, "at": -1})


@settings(max_examples=150, deadline=None, derandomize=True,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(st.sampled_from(sorted(KINDS)).flatmap(lambda kind: valid_event(kind) | nearly_valid(kind)))
def test_a_schema_refuses_nothing_that_the_models_accept(event: dict[str, Any]) -> None:
    payload = to_json(event)
    try:
        decode_event(payload.encode())
    except ContractError:
        return
    assert accepted(event["kind"], json.loads(payload))


def test_the_other_messages_have_examples_that_are_read() -> None:
    batch = json.dumps(examples.BATCH).encode()
    assert decode_batch(batch).rejects == []
    assert accepted("batch", examples.BATCH)
    assert not accepted("batch", {**examples.BATCH, "lane": "media"})
    assert not accepted("batch", {**examples.BATCH, "seq": 0})
    for name, example, shape in (
        ("receipt", examples.RECEIPT, Receipt),
        ("receipt", examples.SHARED_RECEIPT, Receipt),
        ("edge-status", examples.EDGE_STATUS, EdgeStatus),
        ("collector-status", examples.COLLECTOR_STATUS, CollectorStatus),
    ):
        decode_struct(json.dumps(example).encode(), Decoder(shape))
        assert accepted(name, example)
        assert not accepted(name, {**example, "extra": 1})
    assert decode_media_header(list(examples.MEDIA_HEADER.items())).seq == 53
    assert set(examples.MEDIA_HEADER) == set(MediaHeader.__struct_fields__)
    assert accepted("media-header", examples.MEDIA_HEADER)
    assert decode_plain(json.dumps(examples.PLAIN_EVENT).encode(), "panel-1", 1).at > 1
    assert accepted("plain-event", examples.PLAIN_EVENT)
    assert not accepted("plain-event", {**examples.PLAIN_EVENT, "kind": "edge.clock"})
    assert AlertMessage.model_validate(examples.ALERT)
    assert accepted("alert", examples.ALERT)
    assert SiteColours.model_validate(examples.COLOURS)
    assert accepted("site-colours", examples.COLOURS)
    assert not accepted("site-colours", {"jinxiu": "pink"})


def test_an_alert_is_published_as_documented() -> None:
    stored = {k: v for k, v in examples.ALERT.items() if k not in {"state", "title", "advice"}}
    words = {
        f"{n}_{lang}": text for n in ("title", "advice") for lang, text in examples.ALERT[n].items()
    }
    row = AlertRow(**stored, **words, shelved_until=None, suppressed=False, out_of_service=False)
    assert alert_view(row, now=examples.ALERT["noticed_at"]) == examples.ALERT


# -- the AsyncAPI document ---------------------------------------------------------------------


def walk(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(found for inner in value.values() for found in walk(inner))]
    if isinstance(value, list):
        return [found for inner in value for found in walk(inner)]
    return []


def resolve(reference: str) -> Any:
    target: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        target = target[part]
    return target


def test_the_yaml_is_read_back_as_it_was_meant() -> None:
    assert yaml.safe_load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8")) == DOCUMENT
    odd = {
        "a": ["yes", "1", "", "a: b", "- c", "#", 1, 1.5, None, True, {}, [], "$x", "a #b"],
        "x y": {"n": "é\nb"},
        "deep": [{"one": {"two": [[1, 2], {"three": "3"}]}, "four": "4"}],
    }
    assert yaml.safe_load(to_yaml(odd)) == odd


def test_the_document_is_asyncapi_3() -> None:
    specs = DOCS.parent / "web" / "node_modules" / "@asyncapi" / "specs" / "schemas"
    if not specs.exists():
        pytest.skip("web/node_modules is not there: `make test` installs it")
    schema = json.loads((specs / "3.0.0-without-$id.json").read_text(encoding="utf-8"))
    Draft7Validator(schema).validate(DOCUMENT)


def test_every_reference_leads_somewhere() -> None:
    references = [node["$ref"] for node in walk(DOCUMENT) if isinstance(node.get("$ref"), str)]
    assert len(references) > 100
    for reference in references:
        assert resolve(reference), reference


def test_channels_are_the_topics() -> None:
    written = {channel["address"] for channel in DOCUMENT["channels"].values()}
    builders = [topics.batch, topics.status, topics.receipt, topics.command, topics.reply]
    assert written == {
        *(build("{site}", "{edge}") for build in builders),
        topics.plain_event("{site}", "{device}"),
        topics.alert("{site}", "{alert}"),
        topics.colour("{site}"),
        topics.COLLECTOR_STATUS,
    }
    for channel in DOCUMENT["channels"].values():
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == set(
            channel.get("parameters", {})
        )


def test_operations_are_about_their_channels_messages() -> None:
    used = set()
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in {"send", "receive"}
        assert operation["bindings"]["mqtt"]["qos"] == 1
        for message in operation["messages"]:
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")
            used.add(resolve(message["$ref"])["$ref"].rsplit("/", 1)[1])
    assert used == set(DOCUMENT["components"]["messages"])
    retained = {
        name for name, o in DOCUMENT["operations"].items() if o["bindings"]["mqtt"]["retain"]
    }
    assert retained == set(DOCUMENT["operations"]) - {
        "receiveBatch", "receivePlainEvent", "receiveReply", "sendCommand",
    }  # fmt: skip


def test_examples_in_the_document_fit_their_schemas() -> None:
    schema = {"$ref": "#/components/schemas/NAME", "components": DOCUMENT["components"]}
    for name, message in DOCUMENT["components"]["messages"].items():
        assert message["examples"], name
        part = "headers" if "headers" in message else "payload"
        validator = Draft202012Validator({**schema, "$ref": message[part]["$ref"]})
        for example in message["examples"]:
            validator.validate(example[part])
