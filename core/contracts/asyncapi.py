"""The AsyncAPI 3 document of the wire, seen from the collector's side, and its YAML text."""

from __future__ import annotations

import json
import re
from typing import Any

from core.contracts import examples, topics
from core.contracts.alerts import AlertState
from core.contracts.batch import MAX_EVENTS, MAX_MEDIA_BYTES
from core.contracts.events import KINDS

#: The wire's version; the root topic carries its first number.
VERSION = "1.0.0"
_BINDING = "0.2.0"

Json = dict[str, Any]

_DESCRIPTION = """\
What passes between edge agents, third-party gateways and the collector over MQTT 5, QoS 1.
The broker is a wire: its acknowledgement promises nothing. An edge deletes a batch only when
the collector's retained receipt covers it, and sends again from the receipt on until it does.
A batch is identified by (edge, epoch, lane, seq); seq counts a lane's batches from 1 without a
hole. A bad event is kept in the dead letters with the reason; the rest of its batch is used.
Times are integers: milliseconds since the Unix epoch, UTC. Units stand in the fields' names."""

_PARAMETERS: dict[str, str] = {
    "site": "Id of the site in the topology.",
    "edge": "Id of the edge agent.",
    "device": "Id of the device.",
    "alert": "Id of the alert (a UUID).",
}


def _channel(address: str, what: str, *messages: str) -> Json:
    names = re.findall(r"\{(\w+)\}", address)
    channel: Json = {"address": address, "description": what}
    if names:
        channel["parameters"] = {name: {"description": _PARAMETERS[name]} for name in names}
    channel["messages"] = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    return channel


def _channels() -> Json:
    return {
        "batch": _channel(
            topics.batch("{site}", "{edge}"),
            "An edge's batches; at most a window of them beyond the receipt is under way.",
            "batch",
            "media",
        ),
        "edgeStatus": _channel(
            topics.status("{site}", "{edge}"),
            "Retained: an edge's birth, and its farewell or last will. `last` in a birth is the"
            " last seq sealed before it, so what is at or below it is backlog.",
            "edgeStatus",
        ),
        "receipt": _channel(
            topics.receipt("{site}", "{edge}"),
            "Retained: the collector's answer, and the only promise of durability.",
            "receipt",
        ),
        "collectorStatus": _channel(
            topics.COLLECTOR_STATUS,
            "Retained: whether a collector listens. On another instance, edges are born again.",
            "collectorStatus",
        ),
        "plainEvent": _channel(
            topics.plain_event("{site}", "{device}"),
            "Events of devices and gateways without an edge agent. Weaker: what the broker loses"
            " is lost, and a message that is delivered twice is stored twice.",
            "plainEvent",
        ),
        "alert": _channel(
            topics.alert("{site}", "{alert}"),
            "Retained while the alert is open; emptied when it is over and acknowledged.",
            "alert",
        ),
        "siteColours": _channel(
            topics.colour("{site}"), "Retained: the colours of a site's nodes.", "siteColours"
        ),
        "command": _channel(
            topics.command("{site}", "{edge}"),
            "Never retained. A command carries `expires_at` and its message an MQTT expiry, so that"
            " an unlock cannot run a week later. An edge does it once, whatever is repeated.",
            "command",
        ),
        "reply": _channel(
            topics.reply("{site}", "{edge}"),
            "An edge's answer to a command; the lasting audit is its event `edge.command`.",
            "reply",
        ),
    }


def _operation(action: str, channel: str, what: str, *messages: str, retain: bool = False) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": what,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
        "bindings": {"mqtt": {"qos": 1, "retain": retain, "bindingVersion": _BINDING}},
    }


def _operations() -> Json:
    receive_batch = _operation(
        "receive",
        "batch",
        "Take batches, commit them, then answer with a receipt.",
        "batch",
        "media",
    )
    receive_batch["reply"] = {
        "channel": {"$ref": "#/channels/receipt"},
        "messages": [{"$ref": "#/channels/receipt/messages/receipt"}],
    }
    return {
        "receiveBatch": receive_batch,
        "receiveEdgeStatus": _operation(
            "receive", "edgeStatus", "Learn which edges are there.", "edgeStatus", retain=True
        ),
        "receivePlainEvent": _operation(
            "receive", "plainEvent", "Take single events, acknowledged after the commit.",
            "plainEvent",
        ),
        "sendReceipt": _operation(
            "send", "receipt", "Say what is committed.", "receipt", retain=True
        ),
        "sendCollectorStatus": _operation(
            "send", "collectorStatus", "Say that a collector listens; also its last will.",
            "collectorStatus", retain=True,
        ),
        "sendCommand": _operation(
            "send", "command", "Ask an edge to do something, before a time.", "command"
        ),
        "receiveReply": _operation(
            "receive", "reply", "Learn what an edge did, or why it did not.", "reply"
        ),
        "sendAlert": _operation(
            "send", "alert", "Say every change of an alert.", "alert", retain=True
        ),
        "sendSiteColours": _operation(
            "send", "siteColours", "Say a site's colours whenever one changes.", "siteColours",
            retain=True,
        ),
    }  # fmt: skip


def _message(schema: str, what: str, *payloads: tuple[str, Any]) -> Json:
    return {
        "name": schema,
        "summary": what,
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{schema}"},
        "examples": [{"name": name, "payload": payload} for name, payload in payloads],
    }


def _messages() -> Json:
    every_kind = [
        (kind.replace(".", "-"), {"kind": kind, "data": examples.EVENTS[kind]["data"]})
        for kind in KINDS
        if not kind.startswith("edge.") and kind != "device.snapshot"
    ]
    return {
        "batch": _message(
            "Batch", f"Up to {MAX_EVENTS} events of one lane.", ("batch", examples.BATCH)
        ),
        "media": {
            "name": "Media",
            "summary": f"One JPEG of at most {MAX_MEDIA_BYTES} bytes, blurred at the edge;"
            " its header travels as MQTT user properties.",
            "contentType": "image/jpeg",
            "headers": {"$ref": "#/components/schemas/MediaHeader"},
            "payload": {"type": "string", "format": "binary"},
            "examples": [{"name": "media", "headers": examples.MEDIA_HEADER}],
        },
        "edgeStatus": _message("EdgeStatus", "Birth or will.", ("birth", examples.EDGE_STATUS)),
        "receipt": _message(
            "Receipt",
            "What is committed.",
            ("receipt", examples.RECEIPT),
            ("of-several-collectors", examples.SHARED_RECEIPT),
        ),
        "collectorStatus": _message(
            "CollectorStatus", "A collector's status.", ("online", examples.COLLECTOR_STATUS)
        ),
        "command": _message("Command", "One command.", ("siren", examples.COMMAND)),
        "reply": _message("Reply", "What came of a command.", ("done", examples.REPLY)),
        "plainEvent": _message(
            "PlainEvent", "One event.", ("by-hand", examples.PLAIN_EVENT), *every_kind
        ),
        "alert": _message(
            "AlertMessage",
            f"One alert ({', '.join(AlertState)}).",
            ("trapped", examples.ALERT),
        ),
        "siteColours": _message("SiteColours", "Node to colour.", ("site", examples.COLOURS)),
    }


def document(schemas: Json) -> Json:
    """Return the AsyncAPI 3 document over the given component schemas."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "smart-estate wire",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "loopback": {
                "host": "127.0.0.1:1883",
                "protocol": "mqtt",
                "protocolVersion": "5",
                "description": "The embedded broker: this machine only, no sign-in.",
            },
            "tls": {
                "host": "{broker}:8883",
                "protocol": "secure-mqtt",
                "protocolVersion": "5",
                "description": "A broker of your own with TLS.",
                "variables": {"broker": {"description": "The broker's host name."}},
            },
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": schemas},
    }


# -- YAML -------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z/$][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def to_yaml(value: Any) -> str:
    """Write plain values as YAML 1.2, in block style; scalars in JSON's notation where in doubt."""
    return "\n".join(_block(value, 0)) + "\n"


def _block(value: Any, depth: int) -> list[str]:
    pad = "  " * depth
    if isinstance(value, dict):
        items = [(f"{pad}{_scalar(key)}:", inner) for key, inner in value.items()]
    else:
        items = [(f"{pad}-", inner) for inner in value]
    lines: list[str] = []
    for head, inner in items:
        if isinstance(inner, str) and "\n" in inner:
            lines += [f"{head} |-", *(f"{pad}  {line}" for line in inner.split("\n"))]
        elif isinstance(inner, dict | list) and inner and not _is_short(inner):
            nested = _block(inner, depth + 1)
            if head.endswith("-"):  # the first name of an entry stands beside its dash
                nested[0] = f"{head} {nested[0].lstrip()}"
                lines += nested
            else:
                lines += [head, *nested]
        else:
            lines.append(f"{head} {_flow(inner)}")
    return lines


def _is_short(value: Any) -> bool:
    return len(_flow(value)) <= 72 and not isinstance(value, dict)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return str(value)
    return json.dumps(value, ensure_ascii=False)
