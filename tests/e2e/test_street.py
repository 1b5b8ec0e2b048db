"""A piece of a street on real processes: what was sent is stored, once, also through kills."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from core.runtime.settings import Settings
from estate.street import Audit, StreetNode, StreetRun
from simulators.scale.street import Played

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def played(folder: Path, run: StreetRun, watch: object = None) -> tuple[Audit, StreetNode, str]:
    said: list[str] = []
    node = StreetNode(Settings(data=folder), run, folder / "street", said.append)
    if callable(watch):
        node.watch = watch
    return node.play(), node, "\n".join(said)


def test_ten_minutes_of_a_twentieth_of_a_street_are_stored_exactly(tmp_path: Path) -> None:
    audit, _, said = played(tmp_path, StreetRun(share=0.05, seconds=600, flat_out=True))
    assert audit.sent.total() > 100_000
    assert audit.stored == audit.sent
    assert audit.exact, said


def test_kills_in_the_middle_lose_and_double_nothing(tmp_path: Path) -> None:
    victims = ["collector", "broker", "collector"]

    def watch(progress: Played, node: StreetNode) -> None:
        wanted = (4 - len(victims)) * 6_000
        if victims and progress.events > wanted and (pid := node.pid(victims[0])) is not None:
            os.kill(pid, signal.SIGKILL)
            del victims[0]

    audit, _, said = played(tmp_path, StreetRun(share=0.05, seconds=150, speed=10, seed=4), watch)
    assert not victims, "all of them were killed"
    assert audit.stored == audit.sent
    assert audit.exact, said


def test_an_audit_tells_what_is_missing_and_what_is_doubled() -> None:
    sent = Counter({"meter.reading": 10, "access.door": 5})
    assert Audit(sent, Counter(sent), 0, 0).exact
    assert Audit(sent, Counter({"meter.reading": 8, "access.door": 5}), 1, 1).exact
    short = Audit(sent, Counter({"meter.reading": 8, "access.door": 5}), 1, 0)
    assert short.missing == 1
    assert not short.exact
    swapped = Audit(sent, Counter({"meter.reading": 9, "access.door": 6}), 0, 0)
    assert swapped.missing == 0
    assert not swapped.exact, "one is missing and another is there twice"
    assert "NOT EXACT" in "\n".join(swapped.lines())
