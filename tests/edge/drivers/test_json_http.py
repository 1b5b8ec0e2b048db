"""The HTTP JSON driver, asked and posted to, against servers and clients of other makers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.contracts.errors import JournalFullError, SettingsError
from core.runtime.settings import parse
from edge.driver import LinkError
from edge.drivers.json_http import driver as module
from edge.drivers.json_http.driver import JsonHttpPoll, create
from edge.drivers.json_http.settings import JsonHttpSettings
from simulators.devices.http import DigestSignIn, HttpPeer
from simulators.devices.http import Request as PeerRequest
from simulators.devices.http import Response as PeerResponse
from tests.servers import free_port

from .support import Recorder, Streaming, context, run

STATUS = {
    "service_mode": 1, "car_status": 0, "car_direction": 0, "door_zone": 1, "car_position": 7,
    "door_status": 1, "passenger_status": 2, "alarm": 0,
}  # fmt: skip
MESSAGE = {"lifts": [{"lift_id": "L1", **STATUS}]}


class Gateway:
    """A vendor's gateway as Starlette and uvicorn make one."""

    def __init__(self) -> None:
        self.status, self.body = 200, json.dumps(MESSAGE).encode()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    async def answer(self, request: Request) -> Response:
        self.requests.append((request.method, dict(request.headers), await request.body()))
        return Response(self.body, self.status, media_type="application/json")

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        route = Route("/api/{rest:path}", self.answer, methods=["GET", "POST"])
        config = uvicorn.Config(
            Starlette(routes=[route]), host="127.0.0.1", port=0, log_level="error", lifespan="off"
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve())
        while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}/api/lifts?site=1"
        finally:
            server.should_exit = True
            await serving


def entry(**more: Any) -> JsonHttpSettings:
    raw = {"driver": "json_http", "map": "lift_http", "devices": {"L1": "lift-1"}, **more}
    return parse(JsonHttpSettings, raw, "test")


async def started(settings: JsonHttpSettings, folder: Path) -> tuple[JsonHttpPoll, Recorder]:
    driver, sink = create(settings, context(folder)), Recorder()
    assert isinstance(driver, JsonHttpPoll)
    await driver.start(sink)
    return driver, sink


def test_asks_with_method_body_and_headers(tmp_path: Path) -> None:
    async def scene() -> None:
        gateway = Gateway()
        async with gateway.serving() as url:
            settings = entry(
                url=url, method="POST", body='{"cmd": "状态"}', headers={"X-App": "edge"},
                auth="basic", username="u", password="p",
            )  # fmt: skip
            driver, sink = await started(settings, tmp_path)
            await driver.poll()
            await driver.poll()
            await driver.stop()
        method, headers, body = gateway.requests[0]
        assert (method, body.decode()) == ("POST", '{"cmd": "状态"}')
        assert headers["x-app"] == "edge"
        assert headers["authorization"] == "Basic " + base64.b64encode(b"u:p").decode()
        assert len(sink.of("elevator.status", "lift-1")) == 2
        assert sink.of("elevator.alarm_button") == [{"active": False}]
        assert sink.reached_devices == ["lift-1", "lift-1"]

    run(scene())


def test_answers_that_cannot_be_used(tmp_path: Path) -> None:
    async def scene() -> None:
        gateway = Gateway()
        async with gateway.serving() as url:
            driver, sink = await started(entry(url=url, timeout_s=1), tmp_path)

            async def refused(status: int, body: bytes, text: str, cause: str) -> None:
                gateway.status, gateway.body = status, body
                with pytest.raises(LinkError, match=text) as error:
                    await driver.poll()
                assert error.value.cause == cause

            await refused(200, b"<html>", "not JSON", "protocol")
            await refused(200, b"[" * 5_000, "not JSON", "protocol")
            await refused(200, b" " * (1 << 20) + b"1", "more than", "protocol")
            await refused(500, b"{}", "HTTP status 500", "protocol")
            await refused(302, b"", "HTTP status 302", "protocol")
            assert sink.counts["messages_not_json"] == 2
            gateway.status, gateway.body = 200, b'{"lifts": []}'
            await driver.poll()
            assert str(sink.failures[-1][1]) == "not in the answer"
            gateway.body = json.dumps({"lifts": [{"lift_id": "L1", **STATUS, "door_zone": 5}]})
            gateway.body = gateway.body.encode()
            await driver.poll()
            assert "'5' is not in the enum" in str(sink.failures[-1][1])
            assert sink.counts["refused_parts"] == 1
            await refused(401, b"", "credentials refused", "credentials")
            asked = len(gateway.requests)
            with pytest.raises(LinkError, match="waiting before the next try"):
                await driver.poll()
            assert len(gateway.requests) == asked
            await driver.stop()

    run(scene())


def test_lists_of_records_need_not_name_every_device(tmp_path: Path) -> None:
    async def scene() -> None:
        gateway = Gateway()
        gateway.body = b'{"records": []}'
        async with gateway.serving() as url:
            settings = entry(url=url, map="lift_access", whole=False)
            driver, sink = await started(settings, tmp_path)
            await driver.poll()
            assert (sink.reached_devices, sink.failures) == (["lift-1"], [])
            await driver.stop()
            assert (tmp_path / "pseudonym.key").stat().st_mode & 0o777 == 0o600

    run(scene())


def test_digest(tmp_path: Path) -> None:
    async def scene() -> None:
        sign_in = DigestSignIn("gateway", "u", "p")

        async def answer(request: PeerRequest) -> PeerResponse:
            return sign_in.check(request) or PeerResponse(200, json.dumps(MESSAGE).encode())

        peer = HttpPeer(answer)
        await peer.listener.start()
        url = f"http://127.0.0.1:{peer.listener.port}/"
        for password, good in (("p", True), ("wrong", False)):
            settings = entry(url=url, auth="digest", username="u", password=password)
            driver, sink = await started(settings, tmp_path)
            with contextlib.nullcontext() if good else pytest.raises(LinkError, match="401"):
                await driver.poll()
            assert bool(sink.of("elevator.status")) is good
            await driver.stop()
        await peer.listener.stop()

    run(scene())


# -- posted ---------------------------------------------------------------------------------------


class Posting:
    """A driver that listens, and a client of httpx's."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.port = free_port()
        listen = {"port": self.port, "path": "/push", "silence_s": 0.6, **more.pop("listen", {})}
        settings = entry(listen=listen, password="s3cret", **more)
        self.sink = Recorder()
        self.driver = create(settings, context(folder))
        self._streaming = Streaming(self.driver, self.sink)

    async def __aenter__(self) -> Posting:
        await self._streaming.__aenter__()
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=8)
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return self
                await asyncio.sleep(0.02)

    async def __aexit__(self, *arguments: object) -> None:
        await self.client.aclose()
        await self._streaming.__aexit__(*arguments)

    async def post(self, content: Any, path: str = "/push", token: str = "s3cret") -> int:
        if not isinstance(content, bytes) and not hasattr(content, "__aiter__"):
            content = json.dumps(content).encode()
        headers = {"Authorization": f"Bearer {token}"}
        return (await self.client.post(path, content=content, headers=headers)).status_code


def test_takes_what_is_posted(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Posting(tmp_path) as posting:
            assert await posting.post(MESSAGE) == 200

            async def pieces() -> AsyncIterator[bytes]:
                for byte in json.dumps(MESSAGE).encode():
                    yield bytes((byte,))

            assert await posting.post(pieces()) == 200
            assert await posting.post(MESSAGE, "/push/extra/level") == 200
            assert len(posting.sink.of("elevator.status", "lift-1")) == 3
            assert await posting.post(MESSAGE, token="wrong") == 401
            assert await posting.post(MESSAGE, "/other") == 404
            assert await posting.post(MESSAGE, "/pushed") == 404
            assert await posting.post(b"{") == 400
            assert await posting.post(b" " * ((1 << 20) + 1)) == 413
            assert await posting.post({"lifts": [{"lift_id": "L1"}]}) == 422
            assert await posting.post({"something": "else"}) == 200
            auth = {"Authorization": "Bearer s3cret"}
            assert (await posting.client.get("/push", headers=auth)).status_code == 405
            assert posting.sink.counts["pushes_without_token"] == 1
            assert len(posting.sink.of("elevator.status")) == 3

    run(scene())


def test_a_token_in_a_header_of_the_vendors(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Posting(tmp_path, listen={"header": "X-Token"}) as posting:
            for token, status in (("s3cret", 200), ("Bearer s3cret", 401), ("", 401)):
                answer = await posting.client.post(
                    "/push", content=json.dumps(MESSAGE), headers={"X-Token": token}
                )
                assert answer.status_code == status

    run(scene())


def test_the_topic_of_a_push_is_its_path(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Posting(tmp_path, map="lift_mqtt") as posting:
            assert (
                await posting.post({"ts": 1_772_704_800_000, "alarm": 1}, "/push/L1/alarm") == 200
            )
            assert posting.sink.of("elevator.alarm_button", "lift-1") == [{"active": True}]

    run(scene())


def test_success_is_answered_after_the_commit_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with Posting(tmp_path) as posting:
            posting.sink.refuse = lambda kind: JournalFullError("full")
            waiting = asyncio.create_task(posting.post(MESSAGE))
            await posting.sink.until(lambda: posting.sink.counts["journal_waits"])
            assert not waiting.done()
            posting.sink.refuse = lambda kind: None
            assert await waiting == 200
            assert len(posting.sink.of("elevator.status")) == 1
            # A journal that stays full sends the gateway away, to come again.
            monkeypatch.setattr(module, "_HOLD_S", 0.2)
            posting.sink.refuse = lambda kind: JournalFullError("full")
            changed = {"lifts": [{"lift_id": "L1", **STATUS, "alarm": 1}]}
            assert await posting.post(changed) == 503
            posting.sink.refuse = lambda kind: None
            assert await posting.post(changed) == 200
            buttons = posting.sink.of("elevator.alarm_button")
            assert [b["active"] for b in buttons] == [False, True]

    run(scene())


def test_silence_and_garbage(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Posting(tmp_path) as posting:
            await posting.post(MESSAGE)
            await posting.sink.until(lambda: posting.sink.failures)
            assert str(posting.sink.failures[0][1]) == "nothing for 0.6 s"
            for garbage in (b"\x00\xff\xfe\r\n\r\n", b"POST /push HTTP/1.1\r\n", b"x" * 200_000):
                reader, writer = await asyncio.open_connection("127.0.0.1", posting.port)
                writer.write(garbage)
                writer.write_eof()
                with contextlib.suppress(ConnectionError):
                    answer = await reader.read()
                    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
                writer.close()
            assert await posting.post(MESSAGE) == 200
            assert posting.sink.counts["requests_refused"] >= 2

    run(scene())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "exactly one of url and listen"),
        ({"url": "http://a/", "listen": {"port": 1}}, "exactly one of url and listen"),
        ({"url": "http://u:p@a/"}, "url"),
        ({"url": "http://a/", "auth": "basic", "password": "p"}, "needs a username"),
        ({"url": "http://a/", "password": "p"}, "needs auth"),
        ({"url": "http://a/", "auth": "bearer"}, "exactly one of password"),
        ({"listen": {"port": 8080}}, "exactly one of password"),
        ({"listen": {"port": 8080, "tls_cert": "x"}, "password": "p"}, "tls_cert and tls_key"),
        ({"url": "http://a/", "headers": {"A b": "x"}}, "headers"),
        ({"url": "http://a/", "headers": {"A": "x\r\nB: y"}}, "headers"),
        ({"url": "http://a/", "devices": {}}, "devices"),
    ],
)
def test_bad_settings_are_refused_by_name(more: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        entry(**more)
