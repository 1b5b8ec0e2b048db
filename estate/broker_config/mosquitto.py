"""The texts of mosquitto's configuration and access list (mosquitto.conf(5), version 2.0)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from core.runtime.link import MAXIMUM_PACKET, RECEIVE_MAXIMUM
from estate.broker_config.identities import Identity, rights
from estate.broker_config.state import State

HEAD = "# Written by `estate broker-config`: run it again instead of editing this.\n"
#: What a client that is away can have waiting: only the collector's plain events do (bytes).
_QUEUED_BYTES = 256 << 20

_GENERAL = """\
# Who may say what stands in one list, for all listeners.
per_listener_settings false
allow_anonymous false
acl_file {folder}/acl

# The broker is a wire: what counts is kept at the edges until the collector has it.
persistence false
max_queued_messages 0
max_queued_bytes {queued}
max_inflight_messages {in_flight}
max_packet_size {packet}
persistent_client_expiration 8d
max_keepalive 600
# Else a small message waits for the answer to the one before it, up to 40 ms.
set_tcp_nodelay true

log_dest stderr
log_type error
log_type warning
log_type notice
log_timestamp_format %Y-%m-%dT%H:%M:%S
connection_messages true
"""

_LISTENER = """
# {title}
listener {port}{bind}
tls_version tlsv1.2
cafile {folder}/{authority}.pem
crlfile {folder}/{authority}.crl
certfile {folder}/server.pem
keyfile {folder}/server.key
require_certificate true
use_identity_as_username true
use_username_as_clientid {named}
"""


def configuration(state: State, folder: PurePosixPath) -> str:
    """Return mosquitto.conf; ``folder`` is where its files stand on the broker's machine.

    The field's clients are known by their certificate alone: whatever client id they ask for,
    they get their own name, so that none can throw another out. The house's parts, which have
    several connections each, come in by a listener where no certificate of the field is taken.
    """
    general = _GENERAL.format(
        folder=folder, queued=_QUEUED_BYTES, in_flight=RECEIVE_MAXIMUM, packet=MAXIMUM_PACKET
    )
    field = _LISTENER.format(
        title="Edges, devices, observers.", port=state.port, bind=_bind(state.bind),
        folder=folder, authority="field", named="true",
    )  # fmt: skip
    house = _LISTENER.format(
        title="Collector, API, operators: keep this port within the house.",
        port=state.house_port, bind=_bind(state.house_bind),
        folder=folder, authority="house", named="false",
    )  # fmt: skip
    return HEAD + general + field + house


def _bind(address: str | None) -> str:
    return "" if address is None else f" {address}"


def access_list(identities: Iterable[Identity]) -> str:
    """Return the access list: what is not in it is forbidden, and there are no patterns in it."""
    lines = [HEAD]
    for identity in sorted(identities, key=lambda one: one.name):
        lines.append(f"\nuser {identity.name}\n")
        lines += [f"topic {access} {topic}\n" for access, topic in rights(identity)]
    return "".join(lines)
