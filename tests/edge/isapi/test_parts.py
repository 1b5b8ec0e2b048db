"""Times, values, the client and its answers, the watch on clocks, the memory on disk."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.driver import LinkError
from edge.drivers.isapi_door.settings import IsapiDoorSettings
from edge.isapi import times
from edge.isapi.client import Answer, AnswerError, IsapiClient, judge
from edge.isapi.clock_watch import ClockWatch
from edge.isapi.memory import Memory
from edge.isapi.values import ValueUnreadableError, branch, each, find, flag, from_xml, text, whole
from tests.edge.drivers.support import listen, run

AT = 1_772_706_600_000  # 2026-03-05T18:30:00+08:00


@pytest.mark.parametrize(
    ("written", "default", "at"),
    [
        ("2026-03-05T18:30:00+08:00", None, AT),
        ("2026-03-05T18:30:00.250+08:00", None, AT + 250),
        ("2026-03-05T10:30:00Z", None, AT),
        ("2026-03-05T05:30:00-5:00", None, AT),
        ("20260305T183000", 480, AT),
        ("20260305T183000250", 480, AT + 250),
        ("20260305T1830002500", 480, AT + 250),
        ("20260305T053000-500", 480, AT),
        ("2026-03-05 18:30:00", 480, AT),
        ("2026-03-05T18:30:00", None, None),
        ("2026-02-30T18:30:00Z", None, None),
        ("2026-03-05T18:30:00+99:00", None, None),
        ("1969-12-31T00:00:00Z", None, None),
        ("yesterday", 480, None),
        ("2026-03-05T18:30:00+08:00" + "0" * 80, None, None),
        (None, 480, None),
        (20260305, 480, None),
    ],
)
def test_times_as_devices_write_them(written: object, default: int | None, at: int | None) -> None:
    moment = times.parse(written, default)
    assert (None if moment is None else moment.at) == at


@given(st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_a_time_comes_back_as_it_was_written(moment: datetime, offset: int) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    at = int(moment.timestamp()) * 1000
    written = times.extended(at, offset)
    assert written == moment.astimezone(timezone(timedelta(minutes=offset))).isoformat()
    again = times.parse(written)
    assert again == times.Moment(at, offset)
    basic = times.basic(at, offset, "%Y%m%dT%H%M%S")
    plain = times.parse(basic, offset)
    assert plain is not None
    assert plain.at == at


def test_values_of_json_and_xml_alike() -> None:
    assert [whole(v) for v in (5, "5", " 7 ", True, -1, "x", "٣", None, 1.5, "9" * 16)] == [
        5, 5, 7, None, None, None, None, None, None, None
    ]  # fmt: skip
    assert [text(v) for v in (" a ", "", 3, None, True, [])] == ["a", None, "3", None, None, None]
    assert [flag(v) for v in (True, "TRUE", " false", "1", 1, None)] == [
        True, True, False, None, None, None
    ]  # fmt: skip
    tree = {"a": [{"b": None}, {"b": {"c": 1}}], "c": 2}
    assert (branch(tree, "a", "b"), branch(tree, "c"), branch(None, "x")) == (None, 2, None)
    assert (find(tree, "c"), find(tree["a"], "c"), find(tree, "zz")) == (2, 1, None)
    assert (list(each(None)), list(each(1)), list(each([1, 2]))) == ([], [1], [1, 2])


@given(st.binary(max_size=300))
def test_xml_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(ValueUnreadableError):
        from_xml(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"statusCode": 1}', None),
        (b'{"ResponseStatus": {"statusCode": 1}}', None),
        (b"<ResponseStatus><statusCode>1</statusCode></ResponseStatus>", None),
        (b"<R><statusCode>4</statusCode><subStatusCode>notSupport</subStatusCode></R>",
         "4: notSupport"),
        (b'{"statusCode": 6, "statusString": "Invalid"}', "6: Invalid"),
        (b"{}", "None: no reason"),
        (b"good", "neither JSON nor XML"),
    ],
)  # fmt: skip
def test_answers_are_judged_by_their_status_code(body: bytes, why: str | None) -> None:
    if why is None:
        judge(Answer("", body))
        return
    with pytest.raises(AnswerError, match=why):
        judge(Answer("", body))


def client(port: int, folder: Path, **more: object) -> IsapiClient:
    raw = {
        "driver": "isapi_door", "base_url": f"http://127.0.0.1:{port}", "username": "edge",
        "password": "secret", "doors": {"1": "d"}, "request_timeout_s": 0.3, **more,
    }  # fmt: skip
    made = IsapiClient(IsapiDoorSettings.model_validate(raw), folder)
    made.open("secret")
    return made


async def answering(answer: bytes) -> tuple[asyncio.Server, int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

    return await listen(handle)


def http(status: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("answer", "cause", "unsupported"),
    [
        (http("500 Oh"), "protocol", False),
        (http("404 No"), "protocol", True),
        (http("403 No", b"<R><subStatusCode>notSupport</subStatusCode></R>"), "protocol", True),
        (http("403 No", b"<R><subStatusCode>lowPrivilege</subStatusCode></R>"), "protocol", False),
        (http("401 No"), "credentials", None),
        (http("200 OK", b"x" * (2 << 20)), "protocol", False),
        (b"nonsense\r\n\r\n", "network", None),
        (b"", "device", None),
    ],
)
def test_what_a_request_can_meet(
    answer: bytes, cause: str, unsupported: bool | None, tmp_path: Path
) -> None:
    async def scenario() -> None:
        server, port = await answering(answer)
        made = client(port, tmp_path)
        with pytest.raises(LinkError) as met:
            await made.request("GET", "/ISAPI/x")
        assert met.value.cause == cause
        assert getattr(met.value, "unsupported", None) is unsupported
        if cause == "credentials":  # the account is not to be locked: nothing is sent meanwhile
            with pytest.raises(LinkError, match="waiting"):
                await made.request("GET", "/ISAPI/x")
        await made.close()
        await made.close()
        if cause != "credentials":
            with pytest.raises(LinkError, match="stopped"):
                await made.request("GET", "/ISAPI/x")
        server.close()

    run(scenario())


def test_a_certificate_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="ca_file"):
        client(1, tmp_path, base_url="https://127.0.0.1:1", ca_file="missing.pem")


def test_a_clock_is_off_when_it_stays_off() -> None:
    watch, told = ClockWatch(), []
    for offset in [0, 9, 0, 6, 6, 6, 6, 4, 4, 4, 1, 1, 9, 1, 1, 1, -8, -8, -8]:
        change = watch.see(offset)
        if change is not None:
            told.append((change["active"], change["raw_code"]))
            watch.told(change)
    assert told == [(True, "+6 s"), (False, "+1 s"), (True, "-8 s")]


def test_memory_is_whole_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "isapi" / "d.json"
    assert Memory(file).load() == {}
    memory = Memory(file)
    memory.save({"a": 1})
    assert Memory(file).load() == {"a": 1}
    before = file.stat().st_mtime_ns
    memory.save({"a": 1})
    assert file.stat().st_mtime_ns == before, "unchanged content costs nothing"
    for spoilt in (b"", b"{", b"[1]", b"\xff", b"[" * 100_000):
        file.write_bytes(spoilt)
        assert Memory(file).load() == {}
    assert [path.name for path in file.parent.iterdir()] == ["d.json"]
