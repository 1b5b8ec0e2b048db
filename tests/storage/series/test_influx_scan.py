"""Pages that end among points of one nanosecond: none is lost, none comes twice."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.storage.series import influx_scan


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 7))
def test_pages_lose_and_double_nothing(times: list[int], page: int) -> None:
    rows = [[time * 1_000_000, f"d{n}", "s", float(time)] for n, time in enumerate(sorted(times))]

    def select(statement: str) -> list[dict[str, Any]]:
        found = re.search(r"time >= (\d+)ns AND time < (\d+)ns .*LIMIT (\d+)", statement)
        assert found is not None
        lower, upper, limit = map(int, found.groups())
        wanted = [row for row in rows if lower <= row[0] < upper][:limit]
        columns = ["time", "device", "site", "seen"]
        return [{"columns": columns, "values": wanted}] if wanted else []

    scanned = influx_scan.scan(select, "meter.reading", 0, 10, page=page)
    assert [point.device for point in scanned] == [row[1] for row in rows if row[0] < 10_000_000]
