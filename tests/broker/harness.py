"""A real mosquitto on what `estate broker-config` writes, and clients with its certificates."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGHUP

from typer.testing import CliRunner

from core.runtime import settings
from core.runtime.link import Link, LinkOptions, Message, Will
from core.runtime.link_answers import LinkDownError, NotDeliveredError
from core.runtime.settings import BrokerSettings
from estate.cli import app
from tests.servers import HOST, Server, configured_mosquitto, free_port
from tests.wire.harness import SITE

NOT_AUTHORIZED = 0x87


def broker_config(folder: Path, *options: str) -> str:
    """Run the command and return what it says; it must succeed."""
    done = CliRunner().invoke(app, ["broker-config", str(folder), *options])
    assert done.exit_code == 0, done.output
    return done.output


@dataclass
class Secured:
    """A running broker and the folder that it was configured from."""

    folder: Path
    server: Server

    def settings(self, place: str) -> BrokerSettings:
        """Return what the part in a folder (``edges/gw-7``) has in its settings."""
        return settings.load(self.folder / place / "broker.yaml", {}).broker

    def reconfigure(self, *options: str) -> None:
        """Run the command again and let mosquitto read what it wrote."""
        broker_config(self.folder, *options)
        assert self.server.process is not None
        self.server.process.send_signal(SIGHUP)

    @contextlib.contextmanager
    def client(
        self, place: str, client_id: str = "whoever", *, hears: str | None = None
    ) -> Iterator[Client]:
        with Client(self.settings(place), client_id, hears=hears) as client:
            assert client.link.wait_connected(5), f"{place} is not let in: {self.server.log}"
            yield client


class Client:
    """One connection, which may hear a topic filter."""

    def __init__(
        self,
        broker: BrokerSettings,
        client_id: str = "whoever",
        *,
        hears: str | None = None,
        will: str | None = None,
    ) -> None:
        parting = None if will is None else lambda: Will(will, b"a will")
        options = LinkOptions(client_id, backoff_s=(0.005, 0.01), will=parting)
        self.link = Link(broker, options)
        self.heard: list[Message] = []
        if hears is not None:
            self.link.subscribe(hears, self.heard.append)

    def __enter__(self) -> Client:
        self.link.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.link.stop()

    def refusal(self, topic: str, payload: bytes = b"{}") -> int | None:
        """Publish and return the reason of the refusal, None when it was taken.

        mosquitto 2.0.11 ends a TLS connection after it has refused one of its messages, so the
        next one may have to wait for a new connection.
        """
        while True:
            assert self.link.wait_connected(5), "no connection"
            try:
                self.link.publish(topic, payload).result(5)
            except NotDeliveredError as refused:
                return refused.code
            except LinkDownError:
                continue
            return None

    def is_turned_away(self) -> bool:
        """Tell, after three attempts, that there was no connection."""
        while self.link.failed_attempts < 3:
            if self.link.wait_connected(0.01):
                return False
        return True


@contextlib.contextmanager
def secured(tmp: Path, *options: str, edit: tuple[str, str] | None = None) -> Iterator[Secured]:
    """Run a broker; ``edit`` replaces something in its configuration behind the command's back."""
    folder = tmp / "estate-broker"

    def configure(port: int) -> Path:
        broker_config(
            folder, "--host", HOST, "--bind", HOST, "--house-bind", HOST, "--port", str(port),
            "--house-port", str(free_port()), *options,
        )  # fmt: skip
        if edit is not None:
            conf = folder / "broker" / "mosquitto.conf"
            assert edit[0] in conf.read_text()
            conf.write_text(conf.read_text().replace(*edit))
        return folder / "broker"

    with configured_mosquitto(tmp, configure) as server:
        yield Secured(folder, server)


TWO_EDGES = ("--edge", f"{SITE}/gw-7", "--edge", f"{SITE}/gw-8", "--device", f"{SITE}/meter-9")
