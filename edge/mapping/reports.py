"""When the kinds that gateways repeat are reported, unless an entry says otherwise."""

from __future__ import annotations

from edge.driver import ReportRule

REPORTS = {
    # Counters move with every trip: they ride along but are no reason to report.
    "elevator.status": ReportRule(
        period_s=15,
        deadbands={"load_kg": 50},
        ignore=frozenset({"running_h", "trips", "door_cycles"}),
    ),
}
