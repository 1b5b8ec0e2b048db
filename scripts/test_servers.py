"""Install the real servers that the tests start: broker, databases, browser (Debian, root).

Where it may not (no root, no apt-get) it says what is missing, and which tests will be
skipped for it. The tests start private instances on ports of their own; the services that
Debian starts with a package that was installed here are stopped again, none other.
Standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Need:
    """A Debian package, how to see that it is there, and the service it starts."""

    package: str
    found_at: tuple[str, ...]
    service: str = ""

    def is_met(self) -> bool:
        """Tell whether one of its programs or files is there."""
        return any(shutil.which(place, path=_PATH) or _exists(place) for place in self.found_at)


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
NEEDS = (
    Need("mosquitto", ("mosquitto",), "mosquitto"),
    Need("mosquitto-clients", ("mosquitto_pub",)),
    Need("influxdb", ("influxd",), "influxdb"),
    Need("victoria-metrics", ("victoria-metrics",), "victoria-metrics"),
    Need("postgresql", ("/usr/lib/postgresql/*/bin/postgres",), "postgresql"),
    Need("chromium", ("chromium", "chromium-browser")),
    Need("fonts-noto-cjk", ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",)),
)


def _exists(pattern: str) -> bool:
    return pattern.startswith("/") and any(Path("/").glob(pattern.lstrip("/")))


def _quietly(*command: str) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


def _stop(service: str) -> None:
    if Path("/run/systemd/system").is_dir():
        _quietly("systemctl", "disable", "--now", service)
    elif Path("/etc/init.d", service).exists():
        _quietly("service", service, "stop")


def main() -> int:
    """Install what is missing; say loudly what cannot be."""
    missing = [need for need in NEEDS if not need.is_met()]
    if not missing:
        return 0
    names = [need.package for need in missing]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"setup: installing for the tests: {', '.join(names)}", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *names]):
            words = ["apt-get", "-q", "-o", "Dpkg::Use-Pty=0", *command]
            if subprocess.run(words, env=environment, check=False, stdout=2).returncode != 0:
                break
        for need in missing:
            if need.service and need.is_met():
                _stop(need.service)
        names = [need.package for need in NEEDS if not need.is_met()]
    if names:
        print(
            "\n*** Not installed, so the tests that need them will be SKIPPED:"
            f" {', '.join(names)}\n*** As root on Debian 12: apt-get install {' '.join(names)}\n",
            file=sys.stderr,
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
