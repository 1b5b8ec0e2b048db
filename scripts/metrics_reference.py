"""Write the tables of docs/metrics.md from what the parts declare; with --check compare."""

from __future__ import annotations

import sys
from pathlib import Path

import collector.metrics
import collector.shared_metrics
import core.runtime.link_metrics
import dashboard_api.metrics
import dashboard_api.requests
import edge.metrics
import estate.metrics
import simulators.metrics
import worker.metrics
from core.runtime.metrics import COMMON, Spec, catalogue

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
BEGIN = "<!-- Written by `make docs` from the parts' metrics.py; do not edit. -->\n"
END = "<!-- Until here. -->\n"
#: What each process tells, under the heading of its table.
TABLES: dict[str, tuple[Spec, ...]] = {
    "Every process": COMMON,
    "Every connection to the broker (edge, collector, api)": catalogue(
        vars(core.runtime.link_metrics)
    ),
    "edge": catalogue(vars(edge.metrics)),
    "collector": catalogue(vars(collector.metrics)),
    "collector, one of several": catalogue(vars(collector.shared_metrics)),
    "worker": catalogue(vars(worker.metrics)),
    "api": catalogue(vars(dashboard_api.requests)) + catalogue(vars(dashboard_api.metrics)),
    "simulators": catalogue(vars(simulators.metrics)),
    "supervisor": catalogue(vars(estate.metrics)),
}


def tables() -> str:
    """Return the tables."""
    lines: list[str] = []
    for title, specs in TABLES.items():
        lines += [f"### {title}", "", "| metric | kind | labels | |", "| --- | --- | --- | --- |"]
        for spec in specs:
            labels = ", ".join(f"`{label}`" for label in spec.labels)
            lines.append(f"| `{spec.name}` | {spec.kind} | {labels} | {spec.help} |")
        lines.append("")
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page's text with the tables as they have to be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def main() -> int:
    """Write the page, or check it."""
    text = PAGE.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        current = text == page(text)
        if not current:
            print("docs/metrics.md is not current: run `make docs`", file=sys.stderr)
        return 0 if current else 1
    PAGE.write_text(page(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
