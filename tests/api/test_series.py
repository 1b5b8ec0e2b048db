"""Time series: bounded, checked against the vocabulary, honest about a store that is down."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from core.contracts.codec import FIELDS
from core.contracts.errors import StoreUnavailableError
from core.contracts.ports import SeriesReader
from dashboard_api.problems import Problem
from dashboard_api.series.service import (
    CHART_POINTS,
    MAX_POINTS,
    aggregate_for,
    check_field,
    step_for,
)
from tests.api.harness import NOW, Running, populate

ASKED = {"device": "meter-1", "kind": "meter.reading", "field": "power_w"}
WINDOW = {"start": NOW - 100_000, "end": NOW}


def series(reader: httpx.Client, **params: Any) -> httpx.Response:
    return reader.get("/api/v1/series", params={**ASKED, **WINDOW, **params})


def test_values_as_they_came(reader: httpx.Client) -> None:
    body = series(reader, every_ms=0).json()
    assert body["samples"] == [[NOW - 100_000 + 1_000 * n, float(n)] for n in range(100)]


def test_windows_are_chosen_and_averaged(reader: httpx.Client) -> None:
    body = series(reader).json()
    assert body["every_ms"] == 1_000
    assert body["aggregate"] == "mean"
    assert len(body["samples"]) == 100
    tens = series(reader, every_ms=10_000, aggregate="max").json()["samples"]
    assert tens[0] == [NOW - 100_000, 9.0]
    assert len(tens) == 10


def test_a_counters_increase(reader: httpx.Client) -> None:
    steps = series(reader, every_ms=10_000, aggregate="increase").json()
    assert steps["aggregate"] == "increase"
    assert [value for _, value in steps["samples"]] == [9.0] + [10.0] * 9


def test_gaps_are_filled_as_asked(reader: httpx.Client) -> None:
    wide = {"start": NOW - 110_000, "every_ms": 5_000, "aggregate": "max"}
    plain = series(reader, **wide).json()
    nulls = series(reader, **wide, fill="null").json()
    assert (plain["fill"], nulls["fill"]) == ("none", "null")
    assert nulls["samples"] == [[NOW - 110_000, None], [NOW - 105_000, None], *plain["samples"]]
    later = {"start": NOW - 5_000, "end": NOW + 10_000, "every_ms": 5_000, "aggregate": "max"}
    carried = series(reader, **later, fill="previous").json()["samples"]
    assert [value for _, value in carried] == [99.0, 99.0, 99.0]


def test_the_default_window_is_the_last_day(reader: httpx.Client) -> None:
    body = reader.get("/api/v1/series", params=ASKED).json()
    assert (body["end"], body["end"] - body["start"]) == (NOW, 86_400_000)
    assert body["samples"]


def test_too_many_points_are_refused_with_the_remedy(reader: httpx.Client) -> None:
    answer = series(reader, every_ms=5)
    assert answer.status_code == 422
    assert answer.json()["field"] == "every_ms"
    assert "at least 10" in answer.json()["detail"]
    assert series(reader, every_ms=10).status_code == 200


def test_a_leap_year_by_the_hour_is_answered(reader: httpx.Client) -> None:
    assert series(reader, start=NOW - 366 * 86_400_000, every_ms=3_600_000).status_code == 200


@pytest.mark.parametrize(
    ("params", "field", "hint"),
    [
        ({"kind": "meter.readin"}, "kind", "meter.reading"),
        ({"field": "watts"}, "field", "power_w"),
        ({"field": "power_w;drop"}, "field", "power_w"),
        ({"kind": "elevator.access", "field": "granted_floors"}, "field", "credential"),
        ({"field": "relay_closed", "aggregate": "mean"}, "aggregate", "last"),
        ({"start": NOW, "end": NOW}, "end", "after"),
        ({"every_ms": -1}, "every_ms", "greater"),
        ({"device": "no/such"}, "device", "pattern"),
        ({"aggregate": "median"}, "aggregate", "mean"),
        ({"fill": "zero"}, "fill", "previous"),
        ({"fill": "null", "every_ms": 0}, "fill", "leave fill out"),
        ({"fill": "linear", "field": "relay_closed"}, "fill", "previous"),
        ({"aggregate": "increase", "field": "medium"}, "aggregate", "last"),
    ],
)
def test_what_cannot_be_drawn_is_named(
    reader: httpx.Client, params: dict[str, Any], field: str, hint: str
) -> None:
    answer = series(reader, **params)
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert hint in answer.json()["detail"]


def test_unknown_devices(reader: httpx.Client) -> None:
    assert series(reader, device="meter-9").status_code == 404


def test_yes_and_no_show_their_last_value(reader: httpx.Client) -> None:
    body = series(reader, field="relay_closed", every_ms=0).json()
    assert body["aggregate"] == "last"
    assert body["samples"][0][1] is True


def test_every_field_of_every_kind_can_be_asked_for_or_is_refused_by_name() -> None:
    drawn = 0
    for kind, fields in FIELDS.items():
        for field in fields:
            try:
                check_field(kind, field)
            except Problem:
                continue
            aggregate_for(kind, field, None)
            drawn += 1
    assert drawn > 100


@pytest.mark.parametrize("span", [1, 1_000, 60_000, 86_400_000, 400 * 86_400_000, 2**42])
def test_charts_are_bounded(span: int) -> None:
    assert span / step_for(span) <= CHART_POINTS <= MAX_POINTS


def test_a_store_that_is_down(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    populate(run)
    client = run.signed_in()

    def down(*_: object, **__: object) -> SeriesReader:
        raise StoreUnavailableError("http://influx:8086 does not answer")

    run.app.services.series.close()
    monkeypatch.setattr(run.app.services.series, "_open", down)
    answer = client.get("/api/v1/series", params=ASKED)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "influx:8086" not in answer.text
    device = client.get("/api/v1/devices/meter-1")
    assert device.status_code == 200
    assert (device.json()["latest"], device.json()["latest_known"]) == ([], False)
    assert client.get("/api/v1/system").json()["series"]["state"] == "down"
    assert run.client().get("/api/v1/health").status_code == 200
