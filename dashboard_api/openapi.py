"""Writes ``docs/openapi.json``: ``python -m dashboard_api.openapi``.

The console's client is generated from that file, and a test holds it against the code.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from core.runtime.settings import ApiSettings
from dashboard_api.app import create_app

FILE = Path(__file__).parent.parent / "docs" / "openapi.json"


def render() -> str:
    """Return the description as it stands in ``docs/openapi.json``; always the same text."""
    app = create_app(None, ApiSettings())
    return json.dumps(app.openapi(), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write the description; return 0."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
