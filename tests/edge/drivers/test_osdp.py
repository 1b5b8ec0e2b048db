"""The OSDP driver against libosdp's peripheral device: doors, faults, and what is on the wire."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.commands import Action
from core.contracts.errors import DeviceError, JournalFullError, SettingsError
from edge.config import build, from_raw
from edge.driver import CommandRefusedError
from edge.drivers.osdp.bus import _let_go
from edge.drivers.osdp.entrance import pin_pseudonym
from edge.drivers.osdp.frames import Code, Packet, PacketReader, crc16
from edge.pseudonym import Pseudonyms
from edge.wiegand import Card
from simulators.devices.osdp_reader import OsdpConverter, OsdpReader
from simulators.devices.wiegand import w26, w34

from .support import Recorder, Streaming, run

KEY = bytes(range(100, 116))
PSEUDONYMS = Pseudonyms(b"k" * 32)
CARD = w26(123, 4567)
ME = PSEUDONYMS.of("card", Card(26, 4567, 123).identifier)
DOOR = {
    "device": "d1", "address": 5, "key": KEY.hex(), "held_open_s": 1, "grace_s": 0,
    "lock": {"output": 0, "seconds": 0.5},
    "inputs": [{"number": 0, "role": "contact"}, {"number": 1, "role": "exit_button"}],
}  # fmt: skip


class Site:
    """One converter with its readers, and the driver that reads them."""

    def __init__(
        self,
        folder: Path,
        readers: list[OsdpReader],
        entries: list[dict[str, Any]],
        access: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.converter = OsdpConverter(readers)
        self.sink = Recorder()
        self.folder = folder
        self._entries, self._more = entries, more
        (folder / "pseudonym.key").write_bytes(b"k" * 32)
        if access is not None:
            self.write(access)
            self._more["access"] = {"file": "cards.yaml"}

    def write(self, access: dict[str, Any]) -> None:
        (self.folder / "cards.yaml").write_text(yaml.safe_dump(access), encoding="utf-8")

    async def __aenter__(self) -> Site:
        await self.converter.start()
        entry = {
            "driver": "osdp", "host": "127.0.0.1", "port": self.converter.port,
            "silence_s": 1.5, "readers": self._entries, **self._more,
        }  # fmt: skip
        raw = {"edge": "e1", "site": "s1", "drivers": [entry]}
        clock = self.sink.clock
        (self.driver,) = build(from_raw(raw, "test", self.folder), clock, self.folder)
        self.streaming = Streaming(self.driver, self.sink)
        await self.streaming.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.streaming.__aexit__()
        await self.converter.stop()

    async def until(self, condition: Callable[[], Any], timeout_s: float = 12) -> None:
        try:
            await self.sink.until(condition, timeout_s)
        except TimeoutError:
            raise AssertionError(
                f"{self.sink.events} {self.sink.counts} {self.sink.failures[-3:]}"
            ) from None

    async def online(self, *devices: str) -> None:
        await self.until(lambda: set(devices) <= set(self.sink.reached_devices))

    def kinds(self) -> list[str]:
        return [event[0] for event in self.sink.events]

    def packets(self) -> list[Packet]:
        reader = PacketReader()
        return [p for raw in list(self.converter.traffic) for p in reader.feed(raw)]


ALL = {"cards": [{"card": ME, "doors": "all"}]}


def secure() -> OsdpReader:
    return OsdpReader(5, key=KEY, enforce=True)


def test_a_card_opens_the_door_and_the_door_is_watched(tmp_path: Path) -> None:
    async def scene() -> None:
        reader = secure()
        async with Site(tmp_path, [reader], [DOOR], ALL) as site:
            await site.until(lambda: "access.door" in site.kinds())
            reader.present(*CARD)
            await site.until(lambda: reader.output(0))
            reader.set_input(0, active=True)
            await site.until(lambda: {"open": True} in site.sink.of("access.door"))
            assert site.sink.of("access.granted") == [
                {"credential": "card", "direction": "in", "reader": "5", "person": ME}
            ]
            await site.until(lambda: site.sink.of("access.held_open"))
            await site.until(lambda: not reader.output(0))
            reader.set_input(0, active=False)
            await site.until(lambda: site.sink.of("access.door")[-1] == {"open": False})
            assert not site.sink.of("access.forced")
            reader.set_input(0, active=True)
            await site.until(lambda: site.sink.of("access.forced"))
            reader.present(*w34(99))
            await site.until(lambda: site.sink.of("access.denied"))
            assert site.sink.of("access.denied")[0]["reason"] == "unknown_credential"
            assert not reader.output(0)

    run(scene(), 40)


def test_the_exit_button_and_a_code_and_duress(tmp_path: Path) -> None:
    async def scene() -> None:
        codes = {
            "pin": pin_pseudonym(PSEUDONYMS, ME, "1234"),
            "duress_pin": pin_pseudonym(PSEUDONYMS, ME, "4321"),
        }
        reader = secure()
        cards = {"cards": [{"card": ME, "doors": ["d1"], **codes}]}
        async with Site(tmp_path, [reader], [DOOR], cards) as site:
            await site.until(lambda: "access.door" in site.kinds())
            reader.set_input(1, active=True)
            await site.until(lambda: site.sink.of("access.exit_button") and reader.output(0))
            reader.present(*CARD)
            reader.press("12")
            reader.press("34#")
            await site.until(lambda: site.sink.of("access.granted"))
            assert not site.sink.of("access.duress")
            reader.present(*CARD)
            reader.press("4321#")
            await site.until(lambda: len(site.sink.of("access.granted")) == 2)
            assert len(site.sink.of("access.duress")) == 1

    run(scene(), 40)


def test_both_sides_of_a_door_and_anti_passback(tmp_path: Path) -> None:
    async def scene() -> None:
        inner, outer = secure(), OsdpReader(6)
        entries = [
            {**DOOR, "area": "hall"},
            {"device": "d1-out", "address": 6, "direction": "out", "door": "d1"},
        ]
        cards = {**ALL, "anti_passback": {"areas": ["hall"]}}
        async with Site(tmp_path, [inner, outer], entries, cards) as site:
            await site.online("d1", "d1-out")
            for reader, count in ((inner, 1), (outer, 2), (inner, 3)):
                reader.present(*CARD)
                await site.until(lambda n=count: len(site.sink.of("access.granted")) == n)
            inner.present(*CARD)
            await site.until(lambda: site.sink.of("access.denied"))
            assert site.sink.of("access.denied")[0]["reason"] == "anti_passback"
            ways = [data["direction"] for data in site.sink.of("access.granted", "d1")]
            assert ways == ["in", "out", "in"]
            assert site.driver.gateway == f"127.0.0.1:{site.converter.port}"

    run(scene(), 40)


def test_tampering_power_and_both_again_after_a_reboot(tmp_path: Path) -> None:
    async def scene() -> None:
        reader = secure()
        async with Site(tmp_path, [reader], [DOOR], ALL, status_s=0.5) as site:
            await site.until(lambda: site.sink.of("device.fault"))
            assert site.sink.of("device.tamper") == [{"active": False, "part": "reader"}]
            reader.set_tamper(active=True)
            reader.set_mains_off(active=True)
            await site.until(lambda: len(site.sink.of("device.fault")) == 2)
            assert site.sink.of("device.tamper")[-1]["active"] is True
            assert site.sink.of("device.fault")[-1] == {"fault": "mains_off", "active": True}
            # What happened while it was switched off shows in the status that is asked for.
            reader.powered = False
            reader.set_tamper(active=False)
            reader.powered = True
            reader.reboot()
            await site.until(lambda: site.sink.of("device.tamper")[-1]["active"] is False, 20)
            reader.present(*CARD)
            await site.until(lambda: site.sink.of("access.granted"))

    run(scene(), 60)


def test_a_wrong_key_is_told_as_such_and_a_right_one_heals_it(tmp_path: Path) -> None:
    async def scene() -> None:
        wrong, other = OsdpReader(5, key=bytes(16), enforce=True), OsdpReader(6)
        entries = [DOOR, {"device": "d2", "address": 6}]
        async with Site(tmp_path, [wrong, other], entries, ALL) as site:
            await site.online("d2")
            await site.until(lambda: [f for f in site.sink.failures if f[0] == "d1"])
            error: Any = site.sink.failures[0][1]
            assert error.cause == "credentials"
            assert "d1" not in site.sink.reached_devices
            assert not site.streaming.errors, "the others' bus stays"
            wrong.rekey(KEY)
            await site.online("d1")

    run(scene(), 60)


def test_a_reader_without_secure_channel_is_not_believed(tmp_path: Path) -> None:
    async def scene() -> None:
        # In install mode it offers the default key only, and this entry does not install.
        bare = OsdpReader(5)
        async with Site(tmp_path, [bare], [DOOR], ALL) as site:
            bare.present(*CARD)
            await site.until(lambda: site.sink.failures)
            await asyncio.sleep(1)
            assert not site.sink.of("access.granted")
            assert not bare.output(0)

    run(scene())


def test_install_mode_gives_a_new_reader_its_key(tmp_path: Path) -> None:
    async def scene() -> None:
        fresh = OsdpReader(5)
        async with Site(tmp_path, [fresh], [{**DOOR, "install": True}], ALL) as site:
            await site.online("d1")
            fresh.present(*CARD)
            await site.until(lambda: site.sink.of("access.granted"))
            assert fresh.secure
            assert Code.KEYSET in {packet.code for packet in site.packets()}

    run(scene())


def test_what_is_on_the_wire(tmp_path: Path) -> None:
    async def scene() -> None:
        clear, ciphered = OsdpReader(6), secure()
        entries = [{"device": "d2", "address": 6, "inputs": DOOR["inputs"]}, DOOR]
        async with Site(tmp_path, [clear, ciphered], entries, ALL) as site:
            await site.online("d1", "d2")
            for reader in (clear, ciphered):
                reader.present(*CARD)
                reader.press("7")
            await site.until(lambda: len(site.sink.of("access.granted")) == 2)
            await site.until(lambda: site.sink.counts["keys_without_card"] == 2)
            found = site.packets()
        raw = b"".join(site.converter.traffic)
        asked = {p.code for p in found if not p.reply}
        answered = {p.code for p in found if p.reply}
        assert {0x60, 0x61, 0x62, 0x64, 0x65, 0x68, 0x76, 0x77} <= asked
        assert {0x40, 0x45, 0x46, 0x48, 0x49, 0x50, 0x53} <= answered
        # 53 addr len_lo len_hi ctrl: a poll of address 6 with a CRC, and its answer.
        polls = [
            at
            for at in range(len(raw) - 5)
            if raw[at : at + 4] == bytes.fromhex("53 06 08 00") and raw[at + 5] == 0x60
        ]
        assert polls
        assert all(raw[at + 4] & 0b1100 == 0b0100 for at in polls)
        assert bytes.fromhex("53 86 08 00") in raw
        reads = [p for p in found if p.reply and p.code == Code.RAW]
        by_address = {p.address: p for p in reads}
        # Reader, format (Wiegand), 26 bits low byte first, and the bits in clear.
        assert by_address[6].data == bytes((0, 1, 26, 0)) + CARD[1]
        assert by_address[5].encrypted
        assert CARD[1] not in by_address[5].data
        assert sum(raw[i : i + 4] == CARD[1] for i in range(len(raw))) == 1

    run(scene(), 40)


def test_a_reader_that_refuses_its_status_is_asked_once(tmp_path: Path) -> None:
    async def scene() -> None:
        import osdp_sys

        reader = OsdpReader(6)
        reader.refuses.add(osdp_sys.CMD_STATUS)
        entry = {**DOOR, "address": 6, "key": None}
        async with Site(tmp_path, [reader], [entry], ALL, status_s=0.5) as site:
            await site.until(lambda: site.sink.counts["status_refused"] == 2)
            await site.online("d1")
            await asyncio.sleep(1.5)
            asked = [p.code for p in site.packets() if not p.reply]
            assert asked.count(Code.LSTAT) == asked.count(Code.ISTAT) == 1
            # What it tells by itself is heard all the same.
            reader.set_tamper(active=True)
            await site.until(lambda: site.sink.of("device.tamper"))
            assert not site.streaming.errors

    run(scene())


def test_commands(tmp_path: Path) -> None:
    async def scene() -> None:
        reader = secure()
        entry = {**DOOR, "relay_output": 1}
        async with Site(tmp_path, [reader], [entry], ALL) as site:
            driver = site.driver
            assert driver.actions == {"d1": {Action.UNLOCK, Action.RELAY_OUTPUT}}
            with pytest.raises(DeviceError, match="offline"):
                await driver.act("d1", Action.UNLOCK, {})
            await site.online("d1")
            assert await driver.act("d1", Action.UNLOCK, {}) == {"seconds": 0.5}
            assert reader.output(0)
            await site.until(lambda: site.sink.of("access.granted"))
            assert site.sink.of("access.granted") == [{"credential": "remote"}]
            await driver.act("d1", Action.RELAY_OUTPUT, {"on": True})
            assert reader.output(1)
            await driver.act("d1", Action.RELAY_OUTPUT, {"on": False})
            assert not reader.output(1)
            for bad in ({}, {"on": 1}, {"on": True, "for_s": 30}, {"on": True, "for_s": "3"}):
                with pytest.raises(CommandRefusedError):
                    await driver.act("d1", Action.RELAY_OUTPUT, bad)

    run(scene())


def test_a_lock_that_is_not_released_is_a_fault_until_it_is(tmp_path: Path) -> None:
    async def scene() -> None:
        import osdp_sys

        reader = secure()
        async with Site(tmp_path, [reader], [DOOR], ALL) as site:
            await site.online("d1")
            reader.refuses.add(osdp_sys.CMD_OUTPUT)
            reader.present(*CARD)
            fault = {"fault": "other", "part": "output", "active": True}
            await site.until(lambda: fault in site.sink.of("device.fault"))
            reader.refuses.clear()
            asked = len(site.sink.reached_devices)
            await site.until(lambda: len(site.sink.reached_devices) > asked + 1)
            reader.present(*CARD)
            await site.until(lambda: {**fault, "active": False} in site.sink.of("device.fault"))

    run(scene(), 40)


def test_the_door_opens_while_the_journal_is_full(tmp_path: Path) -> None:
    async def scene() -> None:
        reader = secure()
        async with Site(tmp_path, [reader], [DOOR], ALL) as site:
            await site.online("d1")
            site.sink.refuse = lambda _: JournalFullError("full")
            reader.present(*CARD)
            await site.until(lambda: reader.output(0))
            await site.until(lambda: site.sink.counts["journal_waits"] > 0)
            assert not site.sink.of("access.granted")
            site.sink.refuse = lambda _: None
            await site.until(lambda: site.sink.of("access.granted"))

    run(scene())


def test_a_journal_that_stays_full_makes_the_readers_wait_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.drivers.osdp.backlog.MOST_WAITING", 3)

    async def scene() -> None:
        reader = OsdpReader(6)
        entry = {"device": "d1", "address": 6}
        async with Site(tmp_path, [reader], [entry], ALL) as site:
            await site.until(lambda: site.sink.of("device.fault"))
            site.sink.refuse = lambda _: JournalFullError("full")
            for _ in range(12):
                reader.present(*CARD)
            await site.until(lambda: site.sink.counts["cards"] >= 3)
            await asyncio.sleep(2)  # longer than the silence that is allowed
            assert site.sink.counts["cards"] < 12
            assert not site.sink.failures, "silence that we caused is nobody's fault"
            site.sink.refuse = lambda _: None
            await site.until(lambda: len(site.sink.of("access.granted")) == 12)
            assert site.sink.counts["cards"] == 12

    run(scene(), 40)


def test_a_changed_list_is_taken_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.drivers.osdp.driver._LIST_S", 0.2)

    async def scene() -> None:
        reader = secure()
        async with Site(tmp_path, [reader], [DOOR], {"cards": []}) as site:
            await site.online("d1")
            reader.present(*CARD)
            await site.until(lambda: site.sink.of("access.denied"))
            assert site.sink.of("access.denied")[0]["person"] == ME, "as enrolment needs it"
            site.write(ALL)
            await site.until(lambda: site.sink.counts["access_list_taken"])
            (tmp_path / "cards.yaml").write_text("cards: nonsense", encoding="utf-8")
            await site.until(lambda: site.sink.counts["access_list_refused"])
            reader.present(*CARD)
            await site.until(lambda: site.sink.of("access.granted"))

    run(scene())


def test_without_a_list_cards_are_counted_and_nothing_opens(tmp_path: Path) -> None:
    async def scene() -> None:
        reader = secure()
        async with Site(tmp_path, [reader], [DOOR]) as site:
            await site.until(lambda: "access.door" in site.kinds())
            reader.present(*CARD)
            await site.until(lambda: site.sink.counts["cards_not_judged"] == 1)
            reader.present(26, bytes(4))
            await site.until(lambda: site.sink.counts["bad_card_reads"] == 1)
            reader.set_input(0, active=True)
            await site.until(lambda: {"open": True} in site.sink.of("access.door"))
            assert not reader.output(0)
            assert "access.forced" not in site.kinds()

    run(scene())


def test_no_key_and_no_card_number_in_logs_and_errors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    async def scene() -> None:
        reader = secure()
        async with Site(tmp_path, [reader], [DOOR], ALL) as site:
            await site.online("d1")
            reader.present(*CARD)
            await site.until(lambda: site.sink.of("access.granted"))
            assert KEY.hex() not in repr(site.driver._settings)  # type: ignore[attr-defined]
            assert "4567" not in str([event[2] for event in site.sink.events])

    run(scene())
    out = capfd.readouterr()
    assert KEY.hex() not in caplog.text + out.out + out.err

    async def bad() -> None:
        async with Site(tmp_path, [], [{**DOOR, "key": "secret-but-no-key"}], ALL):
            pass

    with pytest.raises(SettingsError) as refused:
        run(bad())
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": None, "port": None}, "either serial or host"),
        ({"serial": "/dev/ttyUSB0"}, "either serial or host"),
        ({"readers": [DOOR, {**DOOR, "device": "d2"}]}, "same address"),
        ({"readers": [DOOR, {"device": "d2", "address": 6, "door": "d3"}]}, "no door of this bus"),
        ({"readers": [{**DOOR, "key_file": "k"}]}, "at most one of key"),
        ({"readers": [{"device": "d", "address": 1, "install": True}]}, "install needs the key"),
        ({"readers": [{**DOOR, "address": 127}]}, "126"),
        ({"readers": [{**DOOR, "relay_output": 0}]}, "same output"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    entry = {"driver": "osdp", "host": "h", "port": 1, "readers": [DOOR], **changes}
    with pytest.raises(SettingsError, match=message):
        from_raw({"edge": "e1", "site": "s1", "drivers": [entry]}, "test", tmp_path)


def test_an_event_is_let_go_once_and_only_where_it_was_lost() -> None:
    kept = {"a": 1}
    _let_go(kept)  # nobody lost one
    assert sys.getrefcount(kept) == 2
    import ctypes

    lost = {"b": 2}
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(lost))
    _let_go(lost)
    assert sys.getrefcount(lost) == 2


def test_a_long_talk_leaves_no_events_behind(tmp_path: Path) -> None:
    async def scene() -> None:
        reader = OsdpReader(6)
        async with Site(tmp_path, [reader], [{"device": "d1", "address": 6}], status_s=0.5) as site:
            await site.online("d1")

            def events() -> int:
                gc.collect()
                return sum(1 for o in gc.get_objects() if isinstance(o, dict) and "reader_no" in o)

            before = events()
            for count in range(1, 31):
                reader.present(*CARD)
                await site.until(lambda n=count: site.sink.counts["cards"] >= n)
            assert events() - before < 5

    # What other tests have left is not looked through: on a large heap that would take so long
    # that the reader is given up, and the next card with it.
    gc.collect()
    gc.freeze()
    try:
        run(scene(), 40)
    finally:
        gc.unfreeze()


# -- packets ---------------------------------------------------------------------------------


def packet(address: int, control: int, body: bytes) -> bytes:
    size = 2 if control & 4 else 1
    head = bytes((0x53, address)) + (5 + len(body) + size).to_bytes(2, "little") + bytes((control,))
    if control & 4:
        return head + body + crc16(head + body).to_bytes(2, "little")
    return head + body + bytes((-sum(head + body) & 0xFF,))


def test_a_published_poll() -> None:
    # libosdp's own unit test: an ID request to address 101, CRC.
    assert PacketReader().feed(packet(0x65, 0x04, b"\x61\x00")) == [
        Packet(0x65, reply=False, sequence=0, code=0x61, data=b"\0")
    ]


@given(
    st.lists(
        st.tuples(st.integers(0, 255), st.sampled_from([0, 4]), st.binary(min_size=1, max_size=40)),
        max_size=5,
    ),
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
)
def test_packets_come_whole_out_of_any_pieces(
    made: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(b"\xff" + packet(*one) for one in made)
    reader, found, at = PacketReader(), [], 0
    while at < len(stream):
        size = cuts[at % len(cuts)]
        found += reader.feed(stream[at : at + size])
        at += size
    assert [(p.address | (0x80 if p.reply else 0), p.code, p.data) for p in found] == [
        (address, body[0], body[1:]) for address, _, body in made
    ]
    assert reader.skipped == 0


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=20))
def test_garbage_never_stops_the_reader(garbage: bytes, body: bytes) -> None:
    reader = PacketReader()
    reader.feed(garbage)
    reader.clear()
    assert [p.data for p in reader.feed(packet(0x85, 4, body))] == [body[1:]]


@given(st.binary(min_size=1, max_size=30), st.sampled_from([0, 4]), st.data())
def test_a_wrong_bit_is_no_packet(body: bytes, control: int, data: st.DataObject) -> None:
    raw = bytearray(packet(0x85, control, body))
    place = data.draw(st.integers(5 * 8, len(raw) * 8 - 1))
    raw[place // 8] ^= 1 << place % 8
    assert bytes(raw) not in [packet(p.address | 0x80, control, bytes((p.code,)) + p.data)
                              for p in PacketReader().feed(bytes(raw))]  # fmt: skip
