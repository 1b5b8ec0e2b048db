"""Writes the table of faults in docs/edge.md from what the driver suite noted (``make faults``).

Usage: python -m scripts.faults_table FOLDER, where FOLDER holds the suite's rows
(``FAULTS_TABLE=FOLDER pytest tests/edge/suite``).
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "edge.md"
BEGIN, END = "<!-- faults table -->", "<!-- end of the faults table -->"
#: The suite's name of a fault -> what was injected, in the order of the table.
INJECTED = {
    "connection refused": "gone: connections refused",
    "mute": "half open: nothing arrives, nobody is told",
    "garble": "each answer has a wrong byte",
    "truncate": "each answer is cut in half",
    "noise": "three bytes of noise before each answer",
    "each answer 150 ms late": "each answer 150 ms late",
    "cut in the middle of an answer": "reset in the middle of an answer",
    "journal full for 1.5 s": "the edge's journal is full for 1.5 s",
}


def main(folder: Path) -> None:
    """Read the rows and write the table."""
    rows: dict[str, dict[str, dict[str, object]]] = defaultdict(dict)
    for path in sorted(folder.glob("*.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        rows[row["peer"]][row["fault"]] = row
    if not rows:
        raise SystemExit(f"{folder} holds no rows: run the driver suite with FAULTS_TABLE={folder}")
    lines = ["| protocol | injected | what the edge did | told after | back after |",
             "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for peer, faults in sorted(rows.items()):
        for name, injected in INJECTED.items():
            if (row := faults.get(name)) is None:
                continue
            back = faults.get("back after a refusal" if name == "connection refused"
                              else f"back after {name}")  # fmt: skip
            lines.append(
                f"| `{peer}` | {injected} | {row['outcome']} | {_seconds(row)} | {_seconds(back)} |"
            )
    text = PAGE.read_text(encoding="utf-8")
    if BEGIN not in text:
        raise SystemExit(f"{PAGE} has no line {BEGIN}")
    head, _, tail = text.partition(BEGIN)
    tail = tail.partition(END)[2] if END in tail else tail
    PAGE.write_text("\n".join([head + BEGIN, "", *lines, "", END + tail]), encoding="utf-8")
    print(f"{len(lines) - 2} rows of {len(rows)} peers in {PAGE.name}")


def _seconds(row: dict[str, object] | None) -> str:
    seconds = None if row is None else row["seconds"]
    return "" if seconds is None else f"{float(str(seconds)):.1f} s"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
