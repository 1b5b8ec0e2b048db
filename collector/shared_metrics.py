"""What one of several collectors tells Prometheus beside the rest (ADR 0026)."""

from __future__ import annotations

from core.runtime.metrics import Spec

SITES = Spec("estate_collector_sites", "gauge", "Sites that one of several collectors serves.")
TAKEN = Spec("estate_collector_sites_taken_total", "counter", "Sites that it took over.")
LOST = Spec("estate_collector_sites_lost_total", "counter", "Sites that it lost to another.")
FAILURES = Spec(
    "estate_collector_site_failures_total", "counter",
    "Sites that did not change hands because something failed; each is tried again.",
)  # fmt: skip
LEASE = Spec("estate_collector_lease_age_seconds", "gauge", "Since its lease was renewed.")
