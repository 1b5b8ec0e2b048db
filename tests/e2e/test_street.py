"""A piece of a street on real processes: what was sent is stored, once, also through kills."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from core.runtime.settings import Settings
from estate.street import StreetAudit, StreetNode, StreetRun
from simulators.scale.street import Played

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def played(
    folder: Path, run: StreetRun, watch: object = None
) -> tuple[StreetAudit, StreetNode, str]:
    said: list[str] = []
    node = StreetNode(Settings(data=folder), run, folder / "street", said.append)
    if callable(watch):
        node.watch = watch
    return node.play(), node, "\n".join(said)


def test_ten_minutes_of_a_twentieth_of_a_street_are_stored_exactly(tmp_path: Path) -> None:
    audit, _, said = played(tmp_path, StreetRun(share=0.05, seconds=600, flat_out=True))
    assert audit.sent.total() > 100_000
    assert audit.logged == audit.sent
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
    assert audit.logged == audit.sent
    assert audit.exact, said
