"""Whatever order things come in: what arrived is stored or dead-lettered, each exactly once."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.contracts.errors import ContractError
from core.storage.records import Records
from core.storage.records.errors import DecidedError
from core.storage.series import open_reader
from tests.collector.office import FOREVER, NOW, Office, batch, reading

EVENTS = st.lists(st.sampled_from(["good", "bad", "ghost"]), min_size=1, max_size=4)
#: What happens: a batch of good, bad and unknown devices' events; somebody asks for a replay,
#: mended or as it is; the desk looks; a projection folds; the collector dies.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("batch"), EVENTS),
        st.tuples(st.just("ask"), st.integers(0, 5)),
        st.tuples(st.just("as it is"), st.integers(0, 5)),
        st.tuples(st.sampled_from(["desk", "rules", "series", "crash"]), st.none()),
    ),
    min_size=4,
    max_size=14,
)  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "template.sqlite"
    Records(f"sqlite:///{path}").open().close()
    return path


class Street:
    """An office, and how many events have arrived at it."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.events = 0
        self.batches = 0

    def arrive(self, what: list[str]) -> None:
        events = []
        for one in what:
            self.events += 1
            device = "ghost" if one == "ghost" else "m1"
            power = "warm" if one == "bad" else 1.0
            events.append(reading(device, at=NOW + self.events, power_w=power))
        self.batches += 1
        self.office.batch(batch(*events, seq=self.batches))

    def ask(self, which: int, *, mend: bool) -> None:
        letters = self.office.letters()
        if not letters:
            return
        letter = letters[which % len(letters)]
        at = int(letter["raw"].split('"at":')[1].split(",")[0])
        try:
            self.office.ask(letter["id"], reading(at=at) if mend else None)
        except DecidedError:
            assert letter["state"] in ("asked", "replayed")
        except ContractError:
            assert not mend

    def step(self, name: str, argument: object) -> None:
        if name == "batch":
            assert isinstance(argument, list)
            self.arrive(argument)
        elif name in ("ask", "as it is"):
            assert isinstance(argument, int)
            self.ask(argument, mend=name == "ask")
        elif name == "desk":
            self.office.replays.step()
        elif name == "crash":
            self.office.restart()
        else:
            self.office.fold(name)

    def check(self) -> None:
        office = self.office
        for _ in range(2):
            office.replays.step()
            office.fold()
        reader = open_reader(office.settings)
        stored = [e.at for name in ("m1", "ghost") for e in reader.events(name, 0, FOREVER)]
        reader.close()
        dead = [letter for letter in office.letters() if letter["state"] != "replayed"]
        assert len(stored) == len(set(stored))
        assert {letter["state"] for letter in dead} <= {"dead"}
        assert len(stored) + len(dead) == self.events
        assert office.dead() == len(dead)
        law = office.law()
        assert law.exact, law
        assert law.total.received == self.events
        assert law.total.on_its_way == 0
        assert law.total.stored == len(stored)
        assert law.total.dead - len(dead) == law.put_back


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_stored_or_dead_each_exactly_once(template: Path, steps: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(template, Path(folder) / "records.sqlite")
        street = Street(Office(Path(folder)))
        for name, argument in steps:
            street.step(name, argument)
        street.check()
        street.office.close()
