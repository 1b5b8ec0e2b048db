"""The ONVIF client against devices that differ: sign-in, clocks, addresses, odd answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from core.contracts.errors import DeviceError, DeviceRefusedError
from core.runtime.clock import ScaledClock
from edge.driver import LinkError
from edge.onvif import names
from edge.onvif.client import Account, OnvifClient
from edge.onvif.pullpoint import PullPoint
from edge.onvif.soap import SignInError, text
from simulators.devices.onvif import OnvifCamera, OnvifDoors

from .onvif_support import camera_driver, door_driver, listening
from .support import Recorder, Streaming, listen, run

HOUR_MS = 3_600_000


def client_of(
    port: int, auth: Any = "auto", password: str = "secret", timeout_s: float = 1
) -> OnvifClient:
    account = Account(
        f"http://127.0.0.1:{port}", "/onvif/device_service", "edge", password, auth, timeout_s
    )
    return OnvifClient(account, ScaledClock().now_ms, verify=False)


@pytest.mark.parametrize(
    ("sign_in", "auth"),
    [("token", "auto"), ("token", "token"), ("digest", "auto"), ("digest", "digest"),
     ("both", "digest"), ("both", "token"), ("both", "auto")],
)  # fmt: skip
def test_ways_to_sign_in(sign_in: str, auth: str) -> None:
    async def scenario() -> None:
        device = OnvifCamera(ScaledClock(), "yard", sign_in=sign_in)
        await device.start()
        client = client_of(device.port, auth)
        await client.connect()
        answer = await client.ask(names.DEVICE, "GetDeviceInformation")
        assert text(answer, "SerialNumber") == "yard"
        assert device.refused == 0
        await client.close()
        await device.stop()

    run(scenario())


@pytest.mark.parametrize("sign_in", ["token", "digest"])
def test_a_wrong_password_is_not_tried_again_and_again(sign_in: str) -> None:
    async def scenario() -> None:
        device = OnvifCamera(ScaledClock(), "yard", sign_in=sign_in)
        await device.start()
        client = client_of(device.port, password="wrong")
        for _ in range(5):
            with pytest.raises(SignInError):
                await client.connect()
        assert device.calls.count("GetServices") <= 2
        assert device.refused == 1
        await client.close()
        await device.stop()

    run(scenario())


@pytest.mark.parametrize("offset_ms", [-20 * 365 * 86_400_000, -8 * HOUR_MS, -45_000, 90_000])
def test_tokens_carry_the_devices_own_time(offset_ms: int) -> None:
    async def scenario() -> None:
        device = OnvifDoors(ScaledClock(), "gate", ["D1"], sign_in="token")
        device.faults.clock_offset_ms = offset_ms
        await device.start()
        client = client_of(device.port)
        await client.connect()
        assert device.refused == 0
        assert abs(client.offset_ms - offset_ms) < 1500
        await client.close()
        await device.stop()

    run(scenario())


def test_a_clock_that_is_set_while_we_listen_locks_nobody_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifCamera(ScaledClock(), "yard", sign_in="token"), Recorder()
        await device.start()
        async with Streaming(camera_driver(device, tmp_path), sink) as streaming:
            await listening(device, sink)
            device.faults.clock_offset_ms = 5 * HOUR_MS
            device.intrude(active=True)
            await sink.until(lambda: sink.of("camera.intrusion")[1:])
            assert streaming.errors == []
        await device.stop()

    run(scenario())


def test_a_wrong_clock_is_a_fault_and_events_keep_the_right_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifDoors(ScaledClock(), "gate", ["D1", "D2"]), Recorder()
        device.faults.clock_offset_ms = HOUR_MS
        await device.start()
        async with Streaming(door_driver(device, tmp_path), sink):
            await listening(device, sink)
            clock = [d for d in sink.of("device.fault", "door-1") if d["fault"] == "clock"]
            assert [(d["active"], d["part"]) for d in clock] == [(True, "controller")]
            device.force("D1")
            await sink.until(lambda: sink.of("access.forced"))
            at = next(e[3] for e in sink.events if e[0] == "access.forced")
            assert abs(at - ScaledClock().now_ms()) < 5_000
            device.faults.clock_offset_ms = 0
            await device.reboot()
            await sink.until(
                lambda: any(
                    d["fault"] == "clock" and not d["active"] for d in sink.of("device.fault")
                )
            )
        await device.stop()

    run(scenario())


def test_addresses_that_cannot_be_reached_are_set_right(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifDoors(ScaledClock(), "gate", ["D1", "D2"]), Recorder()
        device.faults.wrong_host = "192.0.2.1:8080"
        await device.start()
        async with Streaming(door_driver(device, tmp_path), sink) as streaming:
            await listening(device, sink)
            device.force("D1")
            await sink.until(lambda: sink.of("access.forced"))
            assert streaming.errors == []
        await device.stop()

    run(scenario())


def test_a_device_of_before_get_services(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifCamera(ScaledClock(), "yard"), Recorder()
        device.faults.no_services = True
        await device.start()
        async with Streaming(camera_driver(device, tmp_path), sink):
            await listening(device, sink)
            assert "GetCapabilities" in device.calls
            device.intrude(active=True)
            await sink.until(lambda: sink.of("camera.intrusion")[1:])
        await device.stop()

    run(scenario())


@pytest.mark.parametrize(
    ("fault", "value", "words"),
    [("oversize", 2_000_000, "longer"), ("broken_xml", True, "not XML"),
     ("entity_bomb", True, "not XML")],
)  # fmt: skip
def test_answers_that_are_refused(fault: str, value: Any, words: str) -> None:
    async def scenario() -> None:
        device = OnvifCamera(ScaledClock(), "yard")
        await device.start()
        client = client_of(device.port)
        await client.connect()
        setattr(device.faults, fault, value)
        with pytest.raises(LinkError, match=words) as refused:
            await client.ask(names.DEVICE, "GetDeviceInformation")
        assert refused.value.cause == "protocol"
        setattr(device.faults, fault, type(value)())
        await client.ask(names.DEVICE, "GetDeviceInformation")
        await client.close()
        await device.stop()

    run(scenario())


@pytest.mark.parametrize(
    ("head", "error", "cause"),
    [
        ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", DeviceRefusedError, None),
        ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", LinkError, "protocol"),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", LinkError,
         "protocol"),
        ("HTTP/1.1 302 Go\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", LinkError,
         "protocol"),
        ("SSH-2.0-OpenSSH\r\n", LinkError, "network"),
    ],
)  # fmt: skip
def test_other_answers(head: str, error: type[DeviceError], cause: str | None) -> None:
    async def scenario() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"</s:Envelope>")
            writer.write(head.encode())
            await writer.drain()

        server, port = await listen(answer)
        client = client_of(port)
        with pytest.raises(error) as refused:
            await client.connect()
        assert getattr(refused.value, "cause", None) == cause
        await client.close()
        server.close()

    run(scenario())


def test_an_answer_that_drips_has_an_end() -> None:
    async def scenario() -> None:
        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"</s:Envelope>")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
            while True:
                writer.write(b"<")
                await writer.drain()
                await asyncio.sleep(0.05)

        server, port = await listen(drip)
        client = client_of(port, timeout_s=0.3)
        with pytest.raises(LinkError) as refused:
            await client.connect()
        assert refused.value.cause == "device"
        await client.close()
        server.close()

    run(scenario())


def test_nobody_there() -> None:
    async def scenario() -> None:
        device = OnvifCamera(ScaledClock(), "yard")
        await device.start()
        port = device.port
        await device.stop()
        client = client_of(port)
        with pytest.raises(LinkError) as refused:
            await client.connect()
        assert refused.value.cause == "network"
        await client.close()

    run(scenario())


def test_durations_that_are_misread_are_replaced_by_times() -> None:
    async def scenario() -> None:
        device = OnvifCamera(ScaledClock(), "yard")
        device.faults.misread_durations = True
        device.faults.clock_offset_ms = -HOUR_MS
        await device.start()
        client = client_of(device.port)
        await client.connect()
        point = PullPoint(client, 60)
        await point.create()
        assert device.calls[-1] == "Renew"
        assert 30 < point.renewal_in_s < 40
        assert await point.pull(0.1) != []
        await client.close()
        await device.stop()

    run(scenario())


def test_reference_parameters_come_back_as_headers() -> None:
    heard: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            size = int(head.lower().split("content-length:")[1].split()[0])
            request = (await reader.readexactly(size)).decode()
            heard.append(request)
            if "GetServices" in request:
                inner = (
                    f"<GetServicesResponse><Service><Namespace>{names.EVENTS}</Namespace>"
                    "<XAddr>http://x/events</XAddr></Service></GetServicesResponse>"
                )
            elif "CreatePull" in request:
                inner = (
                    "<CreatePullPointSubscriptionResponse><SubscriptionReference>"
                    "<Address>http:///onvif/events?session=7</Address>"
                    '<ReferenceParameters><dom0:SubscriptionId xmlns:dom0="http://www.axis.com/e">'
                    "42</dom0:SubscriptionId></ReferenceParameters></SubscriptionReference>"
                    "</CreatePullPointSubscriptionResponse>"
                )
            else:
                inner = "<PullMessagesResponse/>"
            body = f'<s:Envelope xmlns:s="{names.SOAP}"><s:Body>{inner}</s:Body></s:Envelope>'
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            await writer.drain()

    async def scenario() -> None:
        server, port = await listen(answer)
        client = client_of(port)
        await client.connect()
        point = PullPoint(client, 60)
        await point.create()
        assert await point.pull(0.1) == []
        await client.close()
        server.close()

    run(scenario())
    assert 'xmlns:r="http://www.axis.com/e"' in heard[-1]
    assert 'wsa:IsReferenceParameter="true">42</r:SubscriptionId>' in heard[-1]
    assert ">http:///onvif/events?session=7</wsa:To>" in heard[-1]


def test_a_device_that_answers_pulls_at_once_is_not_asked_without_pause(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifCamera(ScaledClock(), "yard"), Recorder()
        await device.start()
        async with Streaming(camera_driver(device, tmp_path), sink):
            await listening(device, sink)
            device.faults.quick = True
            await sink.until(lambda: sink.counts["quick_pulls"] >= 1)
            before = device.calls.count("PullMessages")
            await asyncio.sleep(1.1)
            assert device.calls.count("PullMessages") - before <= 4
        await device.stop()

    run(scenario())
