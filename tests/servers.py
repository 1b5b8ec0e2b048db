"""Real servers for the tests: private instances on loopback and free ports, gone afterwards.

Each function is a context manager that yields a running :class:`Server`. A missing binary
skips the test, or fails it in CI (``CI`` or ``ESTATE_CI`` set). The servers die with the test
process, even when that is killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

HOST = "127.0.0.1"


@dataclass
class Server:
    """One server process that can be killed, frozen and started again on the same port."""

    name: str
    port: int
    command: list[str]
    ready: Callable[[], bool]
    folder: Path
    ready_s: float = 30.0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        return HOST

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> str:
        path = self.folder / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the process and wait until it answers."""
        assert self.process is None or self.process.poll() is not None, "already running"
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        deadline = time.monotonic() + self.ready_s
        while not self.ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at once:\n{self.log[-2000:]}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.name} is not ready in time:\n{self.log[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill -9 and wait until the process is gone."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Ask the process to end; kill it after 5 s."""
        self._signal(signal.SIGINT if self.name == "postgres" else signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        process = self.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def freeze(self) -> None:
        """SIGSTOP: the port stays open and nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@dataclass
class PostgresServer(Server):
    """PostgreSQL; every superuser connection is trusted on loopback."""

    def create_database(self) -> str:
        """Create an empty database and return its SQLAlchemy address."""
        name = f"estate_{uuid.uuid4().hex[:12]}"
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql+psycopg://postgres@{HOST}:{self.port}/{name}"

    def drop_database(self, url: str) -> None:
        """Drop a database, whoever is still connected."""
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{url.rsplit("/", 1)[1]}" WITH (FORCE)')

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=HOST, port=self.port, user="postgres", dbname="postgres",
            autocommit=True, connect_timeout=3,
        )  # fmt: skip


def in_ci() -> bool:
    """Tell whether a missing server is a failure rather than a reason to skip."""
    return bool(os.environ.get("ESTATE_CI") or os.environ.get("CI"))


def binary(name: str, *folders: str) -> str:
    """Return a program's path; skip the test where it is missing (fail in CI)."""
    path = shutil.which(name)
    for folder in folders:
        for candidate in sorted(Path("/").glob(f"{folder.lstrip('/')}/{name}"), reverse=True):
            path = path or str(candidate)
    if path is None and name == "mosquitto" and Path("/usr/sbin/mosquitto").exists():
        path = "/usr/sbin/mosquitto"
    if path is None:
        if in_ci():
            pytest.fail(f"{name} is not installed", pytrace=False)
        pytest.skip(f"{name} is not installed")
    return path


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _bound(command: list[str], user: str | None = None) -> list[str]:
    """Let the command die with this process (and run as ``user``)."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ["runuser", "-u", user, "--", *command] if user else command
    switch = ["--reuid", user, "--regid", user, "--init-groups"] if user else []
    return [setpriv, *switch, "--pdeathsig", "KILL", "--", *command]


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), 0.5):
            return True
    except OSError:
        return False


def _answers(url: str, status: int) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            return httpx.get(url, timeout=2).status_code == status
        except httpx.HTTPError:
            return False

    return ready


@contextlib.contextmanager
def _running(build: Callable[[int], Server]) -> Iterator[Server]:
    server: Server | None = None
    for attempt in range(3):  # somebody else may take the free port first
        server = build(free_port())
        try:
            server.start()
            break
        except RuntimeError:
            if attempt == 2:
                raise
    assert server is not None
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def mosquitto_server(tmp: Path, conf: str = "") -> Iterator[Server]:
    """Run mosquitto, anonymous, without persistence; ``conf`` is appended to its settings."""
    program = binary("mosquitto")

    def build(port: int) -> Server:
        path = tmp / f"mosquitto-{port}.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        path.write_text(
            f"{user}listener {port} {HOST}\nallow_anonymous true\npersistence false\n"
            f"set_tcp_nodelay true\n{conf}\n"
        )
        command = _bound([program, "-c", str(path)])
        return Server("mosquitto", port, command, lambda: _accepts(port), tmp)

    with _running(build) as server:
        yield server


@contextlib.contextmanager
def configured_mosquitto(tmp: Path, configure: Callable[[int], Path]) -> Iterator[Server]:
    """Run mosquitto on what ``configure`` writes for a port: a folder with ``mosquitto.conf``."""
    program = binary("mosquitto")

    def build(port: int) -> Server:
        path = tmp / f"mosquitto-{port}.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        path.write_text(f"{user}include_dir {configure(port)}\n")
        command = _bound([program, "-c", str(path)])
        return Server("mosquitto", port, command, lambda: _accepts(port), tmp)

    with _running(build) as server:
        yield server


@contextlib.contextmanager
def influxdb_server(tmp: Path, *, auth: bool = False) -> Iterator[Server]:
    """Run InfluxDB 1.x; with ``auth`` the first CREATE USER … WITH ALL PRIVILEGES is free."""
    program = binary("influxd")

    def build(port: int) -> Server:
        folder = tmp / f"influxdb-{port}"
        path = tmp / f"influxdb-{port}.conf"
        path.write_text(
            f'reporting-disabled = true\nbind-address = "{HOST}:0"\n'
            f'[meta]\n  dir = "{folder}/meta"\n'
            f'[data]\n  dir = "{folder}/data"\n  wal-dir = "{folder}/wal"\n'
            '  query-log-enabled = false\n  index-version = "inmem"\n'
            "[monitor]\n  store-enabled = false\n"
            "[retention]\n  enabled = false\n[shard-precreation]\n  enabled = false\n"
            "[continuous_queries]\n  enabled = false\n[subscriber]\n  enabled = false\n"
            f'[http]\n  bind-address = "{HOST}:{port}"\n  log-enabled = false\n'
            f"  auth-enabled = {'true' if auth else 'false'}\n"
            '[logging]\n  level = "warn"\n'
        )
        command = _bound([program, "-config", str(path)])
        ready = _answers(f"http://{HOST}:{port}/ping", 204)
        return Server("influxd", port, command, ready, tmp)

    with _running(build) as server:
        yield server


@contextlib.contextmanager
def victoria_server(tmp: Path) -> Iterator[Server]:
    """Run VictoriaMetrics, which takes /api/v2/write (and /write) and keeps milliseconds."""
    program = binary("victoria-metrics")

    def build(port: int) -> Server:
        command = _bound(
            [
                program,
                f"-httpListenAddr={HOST}:{port}",
                f"-storageDataPath={tmp / f'victoria-{port}'}",
                "-retentionPeriod=100y",
                "-memory.allowedBytes=128MB",
                "-search.latencyOffset=0s",
                "-loggerLevel=WARN",
            ]
        )
        ready = _answers(f"http://{HOST}:{port}/health", 200)
        return Server("victoria", port, command, ready, tmp)

    with _running(build) as server:
        yield server


@contextlib.contextmanager
def postgres_server(tmp: Path) -> Iterator[PostgresServer]:
    """Run PostgreSQL; as root under the account ``postgres`` and in a folder of its own."""
    initdb = binary("initdb", "/usr/lib/postgresql/*/bin")
    program = str(Path(initdb).with_name("postgres"))
    user = "postgres" if os.geteuid() == 0 else None
    # PostgreSQL refuses root, and its account cannot enter pytest's private folders.
    home = Path(tempfile.mkdtemp(prefix="estate-pg-", dir="/tmp" if user else tmp))
    try:
        if user:
            shutil.chown(home, user, user)
        subprocess.run(
            _bound([initdb, "-D", str(home / "data"), "-U", "postgres", "-A", "trust",
                    "-E", "UTF8", "--locale=C", "--no-sync"], user),
            check=True, capture_output=True, cwd="/", timeout=60,
        )  # fmt: skip

        def build(port: int) -> Server:
            options = {
                "listen_addresses": HOST, "port": port, "unix_socket_directories": "",
                "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
                "max_connections": 60, "shared_buffers": "32MB", "jit": "off",
            }  # fmt: skip
            command = [program, "-D", str(home / "data")]
            for key, value in options.items():
                command += ["-c", f"{key}={value}"]
            return PostgresServer("postgres", port, _bound(command, user), ready(port), tmp)

        def ready(port: int) -> Callable[[], bool]:
            def answers() -> bool:
                try:
                    psycopg.connect(
                        host=HOST, port=port, user="postgres", dbname="postgres", connect_timeout=2
                    ).close()
                except psycopg.OperationalError:
                    return False
                return True

            return answers

        with _running(build) as server:
            assert isinstance(server, PostgresServer)
            yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)
