"""What the doctor looks at where several collectors share the sites."""

from __future__ import annotations

from core.storage.records import tenures
from estate.doctor.finding import Finding, Patient, for_long

_PART = "collectors"
#: A site changes hands within so long (ms).
_MOVING_MS = 30_000


def collectors(patient: Patient) -> list[Finding] | str:
    """Look who lives, and whether each site is somebody's."""
    with patient.records() as records, records.reading() as session:
        now = tenures.now_ms(session)
        members, sites = tenures.overview(session)
        known = tenures.known_sites(session)
    living = {each.name for each in members if each.left_ms > 0}
    bad = [
        Finding(
            _PART, False, f"{each.name} has not been heard of for {for_long(-each.left_ms / 1000)}",
            "start it again; its sites are with the others meanwhile",
        )
        for each in members
        if each.left_ms <= 0
    ]  # fmt: skip
    unknown = sorted(set(patient.settings.collector.sites) - known)
    if unknown and known:
        text = f"collector.sites names what no topology does: {', '.join(unknown)}"
        remedy = f"correct it, or the topology; there are {', '.join(sorted(known)[:20])}"
        bad.append(Finding(_PART, False, text, remedy))
    lost = [
        site.site
        for site in sites
        if site.collector not in living and now - site.since > _MOVING_MS
    ]
    if lost:
        text = f"{len(lost)} sites are with no collector that lives: {', '.join(lost[:10])}"
        remedy = "start a collector; the edges keep what they hear until then"
        bad.append(Finding(_PART, False, text, remedy))
    return bad or f"{len(living)} live, with {len(sites)} sites"
