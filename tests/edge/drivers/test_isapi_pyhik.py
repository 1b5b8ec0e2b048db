"""The simulated camera against pyHik, a client that we did not write.

What it understands of the simulator is what it would understand of a camera, so the driver is
not only tried against our own idea of ISAPI.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from pyhik.hikvision import HikCamera

from core.runtime.clock import ScaledClock
from simulators.devices.isapi import Identity
from simulators.devices.isapi_camera import IsapiCameraPeer

from .support import run

JPEG = b"\xff\xd8\xff\xe0picture\xff\xd9"


def soon(condition: Callable[[], Any]) -> None:
    """Wait, in pyHik's own thread, until a condition holds."""
    until = time.monotonic() + 8
    while not condition():
        assert time.monotonic() < until, "not within 8 s"
        time.sleep(0.02)


def test_pyhik_signs_in_lists_what_is_armed_and_hears_events() -> None:
    async def scenario() -> None:
        peer = IsapiCameraPeer(
            ScaledClock(), identity=Identity("yard", "192.0.2.6", "02:00:5e:10:00:06"),
            username="edge", password="secret", heartbeat_s=0.2, picture=lambda: JPEG,
        )  # fmt: skip
        peer.arm("linedetection", notified=False)
        await peer.start()
        loop = asyncio.get_running_loop()

        def do(act: Callable[[], None]) -> None:
            loop.call_soon_threadsafe(act)

        def client() -> None:
            camera = HikCamera("http://127.0.0.1", peer.port, "edge", "secret")
            assert (camera.get_name, camera.get_type) == ("yard", "CAM")
            events = camera.current_event_states
            assert {"Motion", "Field Detection", "Tamper Detection"} <= set(events)
            notified = camera.get_event_triggers({"center"})
            assert notified["fielddetection"] == [1]
            assert "linedetection" not in notified, "it only records"
            assert camera.get_snapshot() == JPEG
            camera.start_stream()
            soon(lambda: camera.stream_connected)
            do(lambda: peer.begin("VMD"))
            soon(lambda: camera.fetch_attributes("Motion", 1)[0] is True)
            do(lambda: peer.begin("fielddetection", region=1, target="human"))
            soon(lambda: camera.fetch_attributes("Field Detection", 1)[0] is True)
            assert camera.fetch_attributes("Field Detection", 1)[4] == "human"
            do(lambda: peer.end("VMD"))
            soon(lambda: camera.fetch_attributes("Motion", 1)[0] is False)
            camera.disconnect()

        await asyncio.to_thread(client)
        await peer.stop()

    run(scenario(), 40)
