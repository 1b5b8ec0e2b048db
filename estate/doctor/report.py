"""How findings are printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from estate.doctor.finding import Finding


def line(finding: Finding) -> str:
    """Return a finding for a terminal; what is broken takes a second line for the remedy."""
    mark = "ok " if finding.ok else "BAD"
    since = f" (since {_time(finding.since)})" if finding.since is not None else ""
    remedy = f"\n     {finding.remedy}" if finding.remedy else ""
    return f"{mark}  {finding.part}: {finding.text}{since}{remedy}"


def as_json(findings: Sequence[Finding]) -> str:
    """Return ``{ok, findings: [{part, ok, text, remedy, since}]}``; ``since`` is ISO 8601."""
    told = [asdict(f) | {"since": None if f.since is None else _time(f.since)} for f in findings]
    whole = {"ok": all(finding.ok for finding in findings), "findings": told}
    return json.dumps(whole, ensure_ascii=False, indent=2)


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
