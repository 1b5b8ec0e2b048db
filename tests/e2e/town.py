"""A whole town in processes: ``estate run`` with its console, as a user starts it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from core.runtime import settings
from estate.audit import audit


class Town:
    """A running ``estate run`` and a signed-in client of its console."""

    def __init__(self, folder: Path, **chosen: Any) -> None:
        self.data = folder / "data"
        self.file = folder / "settings.yaml"
        wanted: dict[str, Any] = {
            "data": str(self.data),
            "api": {"port": 0},
            "broker": {"port": 0},
            **chosen,
        }
        self.file.write_text(yaml.safe_dump(wanted))
        self._output = folder / "run.out"
        self._seen: dict[str, dict[str, Any]] = {}

    def start(self, *options: str) -> float:
        """Start, sign in by the printed link; return the seconds until the page was up."""
        began = time.monotonic()
        output = self._output.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "estate", "run", "--settings", str(self.file), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        output.close()
        text = self.await_text(r"sign-in\?token=\S+")
        took = time.monotonic() - began
        self.url = _found(r"Console\s+(http\S+)", text)
        self.mqtt_port = int(_found(r"MQTT\s+127\.0\.0\.1:(\d+)", text))
        self.http = httpx.Client(base_url=self.url, timeout=20)
        link = _found(r"(http\S+/sign-in\?token=\S+)", text)
        assert self.http.get(link).status_code in (200, 303)
        self.csrf = self.http.get("/api/v1/session").json()["csrf"]
        return took

    def await_text(self, pattern: str) -> str:
        def printed() -> bool:
            assert self.process.poll() is None, self._output.read_text()
            return re.search(pattern, self._output.read_text()) is not None

        until(printed, f"{pattern} is printed", 90)
        return self._output.read_text()

    def said(self) -> str:
        """Return what was printed so far."""
        return self._output.read_text()

    def stop(self) -> float:
        """Ctrl-C; return the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        return time.monotonic() - began

    def abandon(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    # -- asking -----------------------------------------------------------------------------

    def get(self, path: str, **query: Any) -> Any:
        response = self.http.get(f"/api/v1/{path}", params=query)
        response.raise_for_status()
        return response.json()

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        headers = {"X-Estate-CSRF": self.csrf, "Origin": self.url}
        return self.http.post(f"/api/v1/{path}", json=body, headers=headers)

    def alerts(self, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("alerts", **{"state": "all", "limit": 200, **query})[
            "items"
        ]
        return found

    def alerts_of(self, rule: str, device: str) -> list[dict[str, Any]]:
        return [a for a in self.alerts() if (a["rule"], a["device"]) == (rule, device)]

    def now(self) -> int:
        """Return the run's time (ms)."""
        return int(self.get("system")["clock"]["now"])

    def await_time(self, moment: int) -> None:
        until(lambda: self.now() >= moment, f"the run's clock shows {moment}", 120)

    def heard(self, device: str) -> bool:
        return bool(self.get(f"devices/{device}")["presence"] == "online")

    def online(self) -> bool:
        edges = self.get("edges")
        return bool(edges) and all(edge["online"] and edge["drained"] for edge in edges)

    def samples(self, device: str, kind: str, field: str) -> list[list[Any]]:
        """Return the last hour's samples; none while the series store does not answer."""
        now = self.now()
        query = {"start": now - 3_600_000, "end": now + 60_000, "every_ms": 60_000}
        wanted = {"device": device, "kind": kind, "field": field}
        response = self.http.get("/api/v1/series", params={**wanted, **query})
        assert response.status_code in (200, 503), response.text
        return list(response.json().get("samples", []))

    def processes(self) -> dict[str, dict[str, Any]]:
        return {item["name"]: item for item in self.get("system")["processes"]}

    def perform(self, action: str, target: str, **arguments: Any) -> None:
        """Make the simulators do something now."""
        described = json.loads((self.data / "simulation" / "simulation.json").read_text())
        control = described["control"]
        response = httpx.post(
            f"http://127.0.0.1:{control['port']}/perform",
            json={"action": action, "target": target, "with": arguments},
            headers={"Authorization": f"Bearer {control['token']}"},
            timeout=10,
        )
        assert response.status_code == 200, response.text

    def kill(self, name: str) -> None:
        """Kill -9 one process and wait until it runs again."""
        before = self.processes()[name]
        os.kill(before["pid"], signal.SIGKILL)
        until(
            lambda: (
                (now := self.processes()[name])["state"] == "running"
                and now["restarts"] > before["restarts"]
            ),
            f"{name} runs again",
            30,
        )

    # -- the audit --------------------------------------------------------------------------

    def audit(self, *, dead: int = 0) -> int:
        """Check on the files of a stopped town that nothing is lost or doubled; return events.

        ``dead`` is how many dead letters the test itself has made.
        """
        found = audit(settings.load(self.file))
        assert found.exact, "\n".join(found.lines())
        assert found.dead == dead
        return found.stored.total()


def until(true: Callable[[], Any], what: str, seconds: float) -> Any:
    """Wait for a condition and return it; fail with ``what`` when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.TransportError):
            if value := true():
                return value
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.05)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


@contextlib.contextmanager
def town(folder: Path, *options: str, **chosen: Any) -> Iterator[Town]:
    """Start a town and stop it, whatever happens."""
    started = Town(folder, **chosen)
    started.start(*options)
    try:
        yield started
    finally:
        started.abandon()
