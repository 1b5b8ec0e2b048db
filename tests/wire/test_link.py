"""One connection, used by many threads, on a real broker."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from core.runtime.link import Link, LinkOptions, Message
from core.runtime.settings import BrokerSettings
from tests.servers import Server, mosquitto_server
from tests.wire.harness import run, until

pytestmark = pytest.mark.mosquitto

THREADS, EACH = 4, 60


def link_to(server: Server, client_id: str, keepalive_s: int = 15) -> Link:
    return Link(BrokerSettings(port=server.port), LinkOptions(client_id, keepalive_s=keepalive_s))


def test_threads_that_publish_at_once_do_not_mix_their_packets(mosquitto: Server) -> None:
    heard: set[bytes] = set()
    link = link_to(mosquitto, "link-crowd")

    def hear(message: Message) -> None:
        heard.add(message.payload)

    link.subscribe("link/crowd", hear)
    link.start()
    assert link.wait_connected(5)
    sizes = [1, 300, 20_000, 200_000]  # the last ones do not go out in one piece
    wanted = {
        f"{thread}-{number}-".encode().ljust(sizes[(thread + number) % 4], b".")
        for thread in range(THREADS)
        for number in range(EACH)
    }

    def publish(thread: int) -> None:
        mine = [body for body in wanted if body.startswith(f"{thread}-".encode())]
        for future in [link.publish("link/crowd", body) for body in mine]:
            future.result(20)

    crowd = [threading.Thread(target=publish, args=(number,)) for number in range(THREADS)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    run(until(lambda: heard == wanted, "every message whole"))
    assert (link.connections, link.failed_attempts) == (1, 0)
    link.stop()


def test_an_answer_is_not_waited_for_longer_than_it_takes(mosquitto: Server) -> None:
    link = link_to(mosquitto, "link-prompt")
    link.start()
    assert link.wait_connected(5)
    begun = time.monotonic()
    for _ in range(30):
        link.publish("link/prompt", b"x").result(5)
    assert time.monotonic() - begun < 10, "a publisher wakes the thread that writes"
    link.stop()


def test_who_waits_no_longer_does_not_disturb_the_connection(mosquitto: Server) -> None:
    link = link_to(mosquitto, "link-impatient")
    link.start()
    assert link.wait_connected(5)
    for _ in range(20):
        link.publish("link/impatient", b"x").cancel()
    assert link.publish("link/impatient", b"x").result(5) >= 0
    assert link.connections == 1
    link.stop()


def test_a_broker_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with mosquitto_server(tmp_path) as server:
        link = link_to(server, "link-frozen", keepalive_s=1)
        link.start()
        assert link.wait_connected(5)
        server.freeze()
        run(until(lambda: not link.connected, "the silence is noticed"))
        server.thaw()
        run(until(lambda: link.connected, "it is back"))
        link.stop()
