"""The simulated JSON gateways."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from core.runtime.clock import ScaledClock
from simulators.devices.json_gateway import JsonHttpPeer, JsonPushPeer, JsonState
from tests.edge.drivers.support import listen, run
from tests.edge.suite.bacnet import calm

CLOCK = ScaledClock()


def state(**more: Any) -> JsonState:
    return JsonState(CLOCK, lifts={"L1": calm(CLOCK.now_ms())}, **more)


def test_it_answers_with_everything() -> None:
    async def scene() -> None:
        gateway = JsonHttpPeer(state(sensors={"S1": {"level": (0.4, "m")}}), token="t")
        gateway.state.lifts["L1"].fault(CLOCK.now_ms(), 2)
        gateway.state.access("0012345678", [3], [])
        gateway.state.access("0012345678", [], [9], skip_serials=2)
        await gateway.start()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}") as client:
            assert (await client.get("/")).status_code == 401
            answer = (await client.get("/", headers={"Authorization": "Bearer t"})).json()
        await gateway.stop()
        assert answer["lifts"][0]["fault_codes"] == ["02"]
        assert answer["lifts"][0]["service_mode"] == 1
        assert [record["serial"] for record in answer["records"]] == [4, 1]
        assert answer["sensors"][0]["values"] == [{"name": "level", "value": 0.4, "unit": "m"}]

    run(scene())


def test_a_clock_that_is_wrong_and_a_stuck_field() -> None:
    wrong = state(clock_drift_s=-3_600, extra={"door_status": 1})
    assert abs(wrong.now_ms() - CLOCK.now_ms() + 3_600_000) < 1_000
    wrong.lifts["L1"].fault(CLOCK.now_ms(), 2)
    assert wrong.lift("L1")["door_status"] == 1


def test_it_posts_again_until_it_is_taken() -> None:
    async def scene() -> None:
        bodies: list[dict[str, Any]] = []

        async def edge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            size = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
            bodies.append(json.loads(await reader.readexactly(size)))
            status = 503 if len(bodies) < 3 else 200
            writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()

        server, port = await listen(edge)
        gateway = JsonPushPeer(state(), port=port, token="t", period_s=60)
        gateway.happen("event", {"serial": 1})
        await gateway.start()
        async with asyncio.timeout(10):
            while len(bodies) < 4:  # noqa: ASYNC110 (an outcome, not one event)
                await asyncio.sleep(0.01)
        assert bodies[:3] == [{"serial": 1}] * 3
        assert "lifts" in bodies[3]
        await gateway.stop()
        server.close()

    run(scene())
