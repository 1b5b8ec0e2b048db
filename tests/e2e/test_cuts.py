"""Kills, an outage and a second start: nothing lost, nothing doubled; on real processes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.town import town, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def by_rule(alerts: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((alert["rule"], alert["device"]) for alert in alerts)


def test_kill_9_of_anything_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with town(tmp_path, "--speed", "2", "--scenario", "quiet") as started:
        until(started.online, "every edge is online", 60)
        started.perform("trap", "jinxiu-b5-u1-lift-1")
        for _ in range(2):
            for name in ("broker", "collector", "edge jinxiu-north"):
                started.kill(name)
        until(
            lambda: [a for a in started.alerts() if a["rule"] == "lift-entrapment"],
            "the trapped person is told of",
            90,
        )
        started.perform("free", "jinxiu-b5-u1-lift-1")
        until(
            lambda: [
                a
                for a in started.alerts()
                if a["rule"] == "lift-entrapment" and a["cleared_at"] is not None
            ],
            "freed",
            60,
        )
        raised = by_rule([a for a in started.alerts() if a["rule"] == "lift-entrapment"])
        assert raised == {("lift-entrapment", "jinxiu-b5-u1-lift-1"): 1}
        started.stop()
        assert started.audit() > 300


def test_an_outage_is_silent_about_what_is_over_and_rings_for_what_stands(tmp_path: Path) -> None:
    """Ten minutes without network: one trapped and freed, one trapped and still inside."""
    edge, freed, inside = "jinxiu-north", "jinxiu-b5-u1-lift-1", "jinxiu-b6-u1-lift-1"
    with town(tmp_path, "--speed", "15", "--scenario", "quiet") as started:
        until(started.online, "every edge is online", 60)
        until(lambda: started.heard(freed) and started.heard(inside), "the lifts are heard", 60)
        start = started.now()
        started.perform("cut_edge_network", edge)
        started.perform("trap", freed)
        started.await_time(start + 2 * 60_000)
        started.perform("trap", inside)
        started.await_time(start + 4 * 60_000)
        started.perform("free", freed)
        started.await_time(start + 10 * 60_000)
        assert not started.alerts_of("lift-entrapment", inside), "nobody can know yet"
        started.perform("restore_edge_network", edge)
        rings = until(
            lambda: started.alerts_of("lift-entrapment", inside),
            "the standing entrapment rings",
            60,
        )
        until(
            lambda: [a for a in started.alerts_of("lift-entrapment", freed) if a["late"]],
            "the other is history",
            60,
        )
        (alert,) = started.alerts_of("lift-entrapment", inside)
        (history,) = started.alerts_of("lift-entrapment", freed)
        away = [a for a in started.alerts() if a["rule"] == "edge-offline" and a["key"] == edge]
        assert alert["id"] == rings[0]["id"], "its id was frozen when it was first told"
        assert not alert["late"]
        assert alert["colour"] == "red"
        assert alert["noticed_at"] - alert["began_at"] > 300_000, "it began during the outage"
        assert history["state"] == "normal", "silent: nobody has to acknowledge it"
        assert history["cleared_at"] < alert["noticed_at"]
        assert 180_000 < history["cleared_at"] - history["began_at"] < 300_000
        assert len(away) == 1, "one root alert for the edge"
        silent = [a for a in started.alerts() if a["rule"] == "device-silent"]
        assert not silent, "no device of an absent edge is blamed"
        started.stop()
        started.audit()


def test_a_second_start_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    with town(tmp_path, "--scenario", "quiet") as started:
        until(lambda: started.get("devices")["items"], "devices are known", 60)
        assert started.stop() < 6
        took = started.start("--scenario", "quiet")
        assert took < 20, "5 s are promised on an idle machine"
        until(started.online, "every edge is back", 60)
        started.stop()
        started.audit()
