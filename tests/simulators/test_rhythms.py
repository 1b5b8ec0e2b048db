"""The rhythms look like life, and repeat with their seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.loads import FIRST_DAY, GRID_S, LoadKind, LoadPlan, LoadSpec
from simulators.rhythms import (
    DAY_MS,
    HOUR_MS,
    OFFICE,
    RESIDENTIAL,
    Arrivals,
    day_number,
    day_start_ms,
    is_weekend,
    local,
)
from tests.simulators.helpers import at_hour

DAY = day_number(at_hour(12))


def mean_w(plans, first_h, last_h, day=DAY):
    curves = np.mean([plan.day_curve(day) for plan in plans], axis=0)
    return curves[int(first_h * 3600 / GRID_S) : int(last_h * 3600 / GRID_S)].mean()


def plans(kind, limit, count=12):
    return [LoadPlan(3, f"{kind}-{i}", LoadSpec(kind, limit)) for i in range(count)]


def test_households_draw_most_in_the_evening():
    homes = plans(LoadKind.HOUSEHOLD, 8000)
    evening, night, noon = mean_w(homes, 18, 22), mean_w(homes, 2, 5), mean_w(homes, 14, 16)
    assert evening > 3 * night
    assert evening > 3 * noon
    assert 150 < mean_w(homes, 0, 24) < 1200


def test_households_differ():
    homes = plans(LoadKind.HOUSEHOLD, 8000)
    assert len({round(plan.day_curve(DAY).mean()) for plan in homes}) > 8


def test_offices_work_on_working_days():
    offices = plans(LoadKind.OFFICE, 60_000, 3)
    saturday = next(day for day in range(DAY, DAY + 7) if is_weekend(day))
    workday = next(day for day in range(DAY, DAY + 7) if not is_weekend(day))
    assert mean_w(offices, 10, 17, workday) > 4 * mean_w(offices, 0, 6, workday)
    assert mean_w(offices, 10, 17, workday) > 3 * mean_w(offices, 10, 17, saturday)


def test_shops_have_two_meals():
    shops = plans(LoadKind.SHOP, 45_000, 4)
    assert min(mean_w(shops, 11.5, 13), mean_w(shops, 17.5, 20)) > mean_w(shops, 14.5, 16.5)


@pytest.mark.parametrize("kind", LoadKind)
def test_no_plan_reaches_its_limit_and_every_register_grows(kind):
    limit = {LoadKind.HOUSEHOLD: 8000, LoadKind.PUBLIC: 40_000}.get(kind, 60_000)
    for plan in plans(kind, limit, 3):
        assert plan.day_curve(DAY).max() <= 0.8 * limit + 1
        assert plan.day_curve(DAY).min() >= 0
        moments = [at_hour(23) + step * 137_000 for step in range(60)]
        registers = [plan.energy_wh(moment) for moment in moments]
        assert registers == sorted(registers)


@given(st.integers(0, 6 * DAY_MS), st.integers(1, DAY_MS))
def test_the_register_is_the_integral_of_the_curve(offset, span):
    plan = _HOME
    start = at_hour(0) + offset
    measured = plan.energy_wh(start + span) - plan.energy_wh(start)
    assert measured >= 0
    at = start - start % 30_000
    total = 0.0
    while at < start + span:
        step_end = at + 30_000
        inside = min(step_end, start + span) - max(at, start)
        index = ((at - day_start_ms(day_number(at))) // 30_000) % (DAY_MS // 30_000)
        total += plan.day_curve(day_number(at))[index] * inside / HOUR_MS if inside > 0 else 0
        at = step_end
        if span > 2 * HOUR_MS:
            return
    assert measured == pytest.approx(total, abs=1)


_HOME = LoadPlan(1, "home", LoadSpec(LoadKind.HOUSEHOLD, 8000))


def test_arrivals_follow_the_rhythm_and_the_seed():
    gate = Arrivals(5, "gate", RESIDENTIAL)
    day = gate.between(at_hour(0), at_hour(24))
    assert day == Arrivals(5, "gate", RESIDENTIAL).between(at_hour(0), at_hour(24))
    assert day != Arrivals(6, "gate", RESIDENTIAL).between(at_hour(0), at_hour(24))
    assert day == sorted(day)
    assert 200 < len(day) < 480
    peak = [at for at in day if 7 <= local(at).hour < 9]
    night = [at for at in day if 1 <= local(at).hour < 5]
    assert len(peak) > 5 * max(len(night), 1)


def test_arrivals_do_not_depend_on_how_they_are_asked_for():
    gate = Arrivals(5, "gate", RESIDENTIAL.scaled(3))
    whole = gate.between(at_hour(7), at_hour(9))
    parts = [
        at
        for m in range(120)
        for at in gate.between(at_hour(7 + m / 60), at_hour(7 + (m + 1) / 60))
    ]
    assert parts == whole
    at, walked = at_hour(7) - 1, []
    while (at := gate.after(at)) < at_hour(9):
        walked.append(at)
    assert walked == whole


def test_offices_rest_at_weekends():
    saturday = next(d for d in range(7) if is_weekend(DAY + d))
    assert OFFICE.at(at_hour(9, days=saturday)) < 6
    assert Arrivals(1, "x", OFFICE.scaled(0)).between(at_hour(0), at_hour(24)) == []


def test_the_local_calendar():
    assert local(day_start_ms(FIRST_DAY)).isoformat() == "2025-01-01T00:00:00+08:00"
    assert [is_weekend(day) for day in range(FIRST_DAY, FIRST_DAY + 7)] == [
        local(day_start_ms(day)).isoweekday() >= 6 for day in range(FIRST_DAY, FIRST_DAY + 7)
    ]
