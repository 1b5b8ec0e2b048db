"""A scan of the embedded store gives the same, however far its sealing has come."""

from __future__ import annotations

from pathlib import Path

from core.contracts.ports import StoredPoint
from core.storage.series import EmbeddedReader, EmbeddedWriter
from core.storage.series.sealing import SealingPlan
from tests.storage.series.support import BASE, StandingClock, entry, lift, meter, point


def test_hot_rows_runs_and_sealed_days_are_scanned_alike(tmp_path: Path) -> None:
    writer = EmbeddedWriter(
        tmp_path, clock=StandingClock(), plan=SealingPlan(rows=3, events=40, fan=3, overdue_rows=0)
    )
    writer.open()
    reader = EmbeddedReader(tmp_path)

    def scanned() -> list[StoredPoint]:
        found = list(reader.scan("meter.reading", BASE, BASE + 10**9))
        times: dict[str, int] = {}
        for item in found:
            assert times.get(item.device, 0) < item.time_ns, "a device's oldest come first"
            times[item.device] = item.time_ns
        return sorted(found, key=lambda item: (item.device, item.time_ns))

    expected = 0
    for number in range(1, 60):
        at = BASE + (number * 37 % 59) * 1000
        points = [meter(f"m{n}", at, float(n), energy_kwh=number) for n in range(5)]
        bare = point("meter.reading", "m9", at, {"medium": "water"}, id=f"r{number}")
        writer.write(entry(number, *points, bare, lift("l1", at, 3, moving=True)), number)
        expected += 6
        if number % 10 == 0:
            assert len(scanned()) == expected
    before = scanned()
    assert {item.ref for item in before if item.device == "m9"} == {f"r{n}" for n in range(1, 60)}
    while writer.tidy():
        assert scanned() == before
    part = [p for p in before if p.device == "m2" and p.time_ns >= (BASE + 9000) * 10**6]
    assert list(reader.scan("meter.reading", BASE + 9000, BASE + 10**9, device="m2")) == part
    writer.close()
    reader.close()
