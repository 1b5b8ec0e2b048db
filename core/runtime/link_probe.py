"""Trying a broker once, as a part would, and saying what keeps it from being used."""

from __future__ import annotations

import queue
import secrets
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from core.contracts.errors import EstateError
from core.runtime.link_identity import identify
from core.runtime.settings import BrokerSettings

_LOOP_S = 0.1
#: What is retained comes at once after the subscription.
_LISTEN_S = 0.5

Stage = Literal["unreachable", "tls", "refused", "silent"]


class ProbeError(EstateError):
    """The broker cannot be used; ``stage`` says how far it came."""

    def __init__(self, stage: Stage, why: str) -> None:
        self.stage: Stage = stage
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Answer:
    """The topics that the broker refuses, and what it keeps retained on the others.

    Mosquitto's access file refuses no subscription: it delivers nothing.
    """

    refused: list[str]
    retained: dict[str, bytes]


def probe(broker: BrokerSettings, topics: Sequence[str], timeout_s: float) -> Answer:
    """Connect, subscribe, listen for a moment and disconnect.

    Raises ProbeError when there is no connection, and SettingsError as a part would.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"estate-doctor-{secrets.token_hex(4)}",
        protocol=paho.MQTTv5,
        reconnect_on_failure=False,
    )
    identify(client, broker)
    client.on_connect = lambda _client, _data, _flags, code, _properties: answers.put(code)
    client.on_subscribe = lambda _client, _data, _mid, codes, _properties: answers.put(codes)
    retained: dict[str, bytes] = {}

    def keep(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if message.retain:
            retained[message.topic] = bytes(message.payload)

    client.on_message = keep
    client.connect_timeout = timeout_s
    try:
        client.connect(broker.host, broker.port, keepalive=15, clean_start=True)
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason or str(error)
        raise ProbeError("tls", f"TLS: {why}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ProbeError("unreachable", why) from None
    try:
        code: ReasonCode = _await(client, answers, timeout_s)
        if code.is_failure:
            raise ProbeError("refused", f"refused: {code}")
        client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in topics])
        codes: list[ReasonCode] = _await(client, answers, timeout_s)
        until = time.monotonic() + _LISTEN_S
        while time.monotonic() < until and not retained.keys() >= set(topics):
            client.loop(_LOOP_S)
        refused = [t for t, answer in zip(topics, codes, strict=True) if answer.is_failure]
        return Answer(refused, retained)
    finally:
        client.disconnect()


def _await(client: paho.Client, answers: queue.SimpleQueue[Any], timeout_s: float) -> Any:
    """Run the client until it has an answer."""
    deadline = time.monotonic() + timeout_s
    while answers.empty():
        code = client.loop(_LOOP_S)
        if answers.empty() and code != paho.MQTT_ERR_SUCCESS:
            raise ProbeError("silent", f"the connection broke: {paho.error_string(code)}")
        if time.monotonic() > deadline:
            raise ProbeError("silent", f"no answer within {timeout_s:g} s")
    return answers.get()
