"""What a device's fresh snapshot says: the states that hold, and those that it no longer lists."""

from __future__ import annotations

from core.contracts.codec import FIELDS, Event, make_event
from core.contracts.errors import ContractError
from core.contracts.events import KINDS
from rules.subjects import Subject

#: So many states a snapshot holds at most.
_MOST = 64


def states_of(subject: Subject, event: Event, at: int) -> tuple[list[tuple[Event, int]], int]:
    """Return each state as an event with the time (ms) since when it holds, and the unusable ones.

    What a rule holds for true and the list lacks comes last, as ended at ``at``. Of the unusable
    ones, whose data is not of their kind, there is a number.
    """
    listed: list[tuple[Event, int]] = []
    unusable = 0
    for state in event.data.states:
        try:
            held = make_event(
                state.kind, device=subject.id, at=at, seen=event.seen, data=state.data
            )
        except ContractError:
            unusable += 1
            continue
        listed.append((held, min(state.since, at)))
    return listed + [(ended, at) for ended in _unlisted(subject, event, listed)], unusable


def _unlisted(subject: Subject, event: Event, listed: list[tuple[Event, int]]) -> list[Event]:
    """Return an end of each active state that a rule holds for true and the list lacks.

    The list is whole: what an edge no longer lists has ended, at the latest now. So a fault that
    went while its edge was restarted does not stand for ever. A list that is full may have been
    cut off and ends nothing.
    """
    if len(event.data.states) >= _MOST:
        return []
    told = {active.key_of(subject, held.data)
            for held, _ in listed if (plan := subject.plans.get(held.kind)) is not None
            for _, active in plan.tests}  # fmt: skip
    ended: list[Event] = []
    for kind, plan in subject.plans.items():
        end = _end_of(kind)
        if end is None:
            continue
        for _, active in plan.tests:
            ended += [
                make_event(
                    kind, device=subject.id, at=event.at, seen=event.seen,
                    data={**cell.data, **end},
                )
                for key, cell in active.cells.items()
                if cell.subject == subject.id and cell.kind == kind
                and cell.since is not None and key not in told
            ]  # fmt: skip
    return ended


def _end_of(kind: str) -> dict[str, bool] | None:
    """Return what says of a standing kind that it is over; None where nothing does."""
    if kind == "edge.gateway":
        return {"online": True}
    return {"active": False} if KINDS[kind].standing and "active" in FIELDS[kind] else None
