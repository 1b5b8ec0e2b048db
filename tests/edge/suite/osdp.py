"""OSDP over TCP and over a serial port (a pty): two readers on one bus, one on a secure channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from edge.pseudonym import Pseudonyms
from edge.wiegand import Card
from simulators.devices.osdp_reader import OsdpConverter, OsdpReader, OsdpSerialPort
from simulators.devices.wiegand import w26

from .peer import DevicePeer

KEY = bytes(range(16))
PSEUDONYM_KEY = b"k" * 32
FACILITY, NUMBER = 123, 4567


class _OsdpPeer(DevicePeer[OsdpConverter | OsdpSerialPort]):
    """A reader with lock, contact and a fire contact on a secure channel; another one in clear."""

    protocol = "osdp"
    expects = frozenset({"access.door", "device.tamper", "device.fault", "fire.alarm"})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.readers = [OsdpReader(1, key=KEY, enforce=True), OsdpReader(2)]

    async def start(self) -> None:
        self.write_list()
        await super().start()

    def write_list(self) -> None:
        """Write the key and the access list that the entry names."""
        (self.folder / "pseudonym.key").write_bytes(PSEUDONYM_KEY)
        person = Pseudonyms(PSEUDONYM_KEY).of("card", Card(26, NUMBER, FACILITY).identifier)
        cards = {"cards": [{"card": person, "doors": "all"}]}
        (self.folder / "cards.yaml").write_text(yaml.safe_dump(cards), encoding="utf-8")

    @property
    def where(self) -> dict[str, Any]:
        raise NotImplementedError

    def name(self, number: int) -> str:
        return f"osdp-{self.variant}-{number}"

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "osdp", **self.where, "silence_s": 2, "connect_timeout_s": 1,
            "access": {"file": str(self.folder / "cards.yaml")},
            "pseudonym_key_file": str(self.folder / "pseudonym.key"),
            "readers": [
                {
                    "device": self.name(1), "address": 1, "key": KEY.hex(),
                    "lock": {"output": 0, "seconds": 1},
                    "inputs": [
                        {"number": 0, "role": "contact"},
                        {"number": 2, "role": "fire_alarm", "point": "hall"},
                    ],
                },
                {"device": self.name(2), "address": 2},
            ],
        }  # fmt: skip

    async def stir(self) -> tuple[str, str]:
        self.readers[0].present(*w26(FACILITY, NUMBER))
        return "access.granted", self.name(1)


class OsdpTcpPeer(_OsdpPeer):
    variant = "tcp"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.device = OsdpConverter(self.readers)

    @property
    def where(self) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.device.port}


class OsdpSerialPeer(_OsdpPeer):
    variant = "serial"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.device = OsdpSerialPort(self.readers, folder / "rs485")

    @property
    def where(self) -> dict[str, Any]:
        return {"serial": self.device.port, "baud": 115_200}


PEERS = (OsdpTcpPeer, OsdpSerialPeer)
