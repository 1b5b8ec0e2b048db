"""The collector's second process: what it stores, and that killing either of them costs nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from core.runtime.settings import CollectorSettings
from core.storage.series import open_reader
from estate.audit import audit
from tests.servers import Server
from tests.wire.harness import FOREVER, Collector, SyntheticEdge, run, topology, until

pytestmark = [pytest.mark.mosquitto, pytest.mark.crash]

BOTH = CollectorSettings(companion=True)
KINDS = ("meter.reading", "device.health", "access.granted")


def companions(parent: int) -> list[int]:
    """Return the ids of a process's companions."""
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue  # the thread has ended meanwhile
        found += [int(child) for child in children if is_companion(int(child))]
    return found


def is_companion(pid: int) -> bool:
    try:
        return b"collector.companion_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_killed_companion_is_started_anew_and_nothing_is_lost_or_doubled(
    mosquitto: Server, tmp_path: Path
) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "c-1", collector=BOTH)
        edge = SyntheticEdge(tmp_path, mosquitto, "c-1")
        await collector.start()
        await edge.start()
        await until(lambda: len(companions(os.getpid())) == 1, "the companion runs")
        for round_number in range(2):
            await edge.emit_many(600, seed=round_number)
            (pid,) = companions(os.getpid())
            os.kill(pid, signal.SIGKILL)
            await until(lambda: "series" in collector.app.counts().trouble, "its end is told")
            await edge.emit_many(200, seed=round_number)  # receipted, whatever the stores do
            await until(edge.drained, "the outbox is empty")
            await until(lambda: len(companions(os.getpid())) == 1, "another one runs")
        await collector.settle()
        every = collector.logged()
        assert len(collector.logged(*KINDS)) == 1600
        assert collector.stored() == sum(every.values())
        counts = collector.app.counts()
        assert counts.trouble == {}
        assert counts.done["outputs"] > 0
        measured = {
            sample.name: sample
            for source in collector.app.sources()
            for family in source()
            for sample in family.samples
            if sample.labels.get("process") == "companion"
        }
        assert measured["estate_collector_process_cpu_seconds_total"].value > 0
        assert measured["estate_collector_process_resident_memory_bytes"].value > 10 << 20
        await edge.stop()
        await collector.stop()
        assert companions(os.getpid()) == []
        found = audit(collector.settings)  # the accounts are compared with the log, hour by hour
        assert found.exact, "\n".join(found.lines())
        assert found.accounts is not None
        total = found.accounts.law.total
        everything = found.ledger.kinds.total()  # the edge's farewell among it
        assert everything >= sum(every.values())
        assert (total.received, total.stored) == (everything, everything)
        assert (total.dead, total.on_its_way) == (0, 0)

    run(main())


def test_a_companion_that_hangs_is_killed_and_started_anew(
    mosquitto: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.companion.HANG_S", 3.0)

    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "c-4", collector=BOTH)
        edge = SyntheticEdge(tmp_path, mosquitto, "c-4")
        await collector.start()
        await edge.start()
        await edge.emit_many(100)
        await until(edge.drained, "the outbox is empty")
        await collector.settle()  # so it has said how it stands
        (pid,) = companions(os.getpid())
        os.kill(pid, signal.SIGSTOP)
        await edge.emit_many(500, seed=1)
        await until(lambda: companions(os.getpid()) not in ([], [pid]), "another one runs")
        await until(edge.drained, "the outbox is empty")
        await collector.settle()
        assert len(collector.logged(*KINDS)) == 600
        assert collector.stored() == sum(collector.logged().values())
        await edge.stop()
        await collector.stop()

    run(main())


def test_what_the_companion_has_stored_lets_the_log_be_trimmed(
    mosquitto: Server, tmp_path: Path
) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "c-2", collector=BOTH)
        edge = SyntheticEdge(tmp_path, mosquitto, "c-2")
        await collector.start()
        await edge.start()
        await edge.emit_many(300)
        await collector.settle()
        goal = collector.app.counts().positions["series"]
        assert collector.app.counts().done["points"] >= 300
        await until(lambda: collector.app.journal.cursors()["series"] >= goal - 60, "it is told")
        await edge.stop()
        await collector.stop()

    run(main())


def test_a_companion_ends_when_its_collector_is_killed(mosquitto: Server, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    (tmp_path / "topology.json").write_text(json.dumps(topology("c-3")))
    settings.write_text(
        yaml.safe_dump(
            {
                "data": "data",
                "topology": "topology.json",
                "broker": {"embedded": False, "port": mosquitto.port},
            }
        )
    )

    command = [sys.executable, "-m", "estate", "collector", "--settings", str(settings)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)

    async def main() -> None:
        try:
            await until(lambda: bool(companions(process.pid)), "the companion runs")
            (pid,) = companions(process.pid)
            edge = SyntheticEdge(tmp_path, mosquitto, "c-3")
            await edge.start()
            await edge.emit_many(200)
            await until(edge.drained, "the outbox is empty")
        finally:
            process.kill()
            process.wait()
        await until(lambda: not is_companion(pid), "the companion has ended")
        after = Collector(tmp_path, mosquitto, "c-3", collector=BOTH)
        after.settings = after.settings.model_copy(update={"data": tmp_path / "data"})
        await after.start()
        await after.settle()
        reader = open_reader(after.settings)
        assert reader.count(0, FOREVER) == sum(after.logged().values())
        reader.close()
        await edge.stop()
        await after.stop()

    asyncio.run(main())
