"""The embedded MQTT broker: rumqttd from the iotcore wheel, on loopback only.

It keeps nothing on disk. That is no loss: the broker is a wire, and an edge deletes a batch
only when the collector's receipt has come (ADR 0001).
"""

from __future__ import annotations

import socket
from pathlib import Path

_CONFIG = """\
id = 0

[router]
id = 0
max_connections = 10000
max_outgoing_packet_count = 200
max_segment_size = 16777216
max_segment_count = 8

[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 10000
max_payload_size = 1048576
max_inflight_count = 500
dynamic_filters = true
"""


def free_port() -> int:
    """Return a port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_config(path: Path, port: int) -> Path:
    """Write the broker's configuration for a port on loopback."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_CONFIG.format(port=port), encoding="ascii")
    return path


def serve(config: Path) -> None:
    """Run the broker in this process until it is killed."""
    from iotcore import IotCoreBroker  # the only optional wheel; loaded where it is served

    IotCoreBroker(config_path=str(config)).run_forever()
