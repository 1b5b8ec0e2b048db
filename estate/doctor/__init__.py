"""``estate doctor``: looks at every part, also at those that are down, and names the remedy."""

from __future__ import annotations

from estate.doctor.examination import examine
from estate.doctor.finding import Finding

__all__ = ["Finding", "examine"]
