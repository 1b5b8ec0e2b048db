"""``estate doctor``: looks at every part and names the remedy of what is broken."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from core.contracts.errors import EstateError
from core.runtime.settings import Settings
from core.storage import sqlite
from core.storage.journal.reader import JournalReader
from core.storage.records import Records, processes
from core.storage.series import open_reader
from estate.activation import read_rules

_LEAST_FREE = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one part."""

    part: str
    ok: bool
    text: str


def examine(settings: Settings) -> list[Finding]:
    """Look at every part; a part that cannot be looked at is itself a finding."""
    looks: list[tuple[str, Callable[[Settings], str]]] = [
        ("sqlite", _sqlite),
        ("data folder", _data),
        ("broker", _broker),
        ("journal", _journal),
        ("series", _series),
        ("records", _records),
        ("processes", _processes),
        ("rules", _rules),
        ("console", _console),
    ]
    findings = []
    for part, look in looks:
        try:
            findings.append(Finding(part, ok=True, text=look(settings)))
        except (EstateError, OSError, httpx.HTTPError) as error:
            findings.append(Finding(part, ok=False, text=str(error) or type(error).__name__))
    return findings


def _sqlite(_settings: Settings) -> str:
    if sqlite.SQLITE_VERSION < sqlite.OLDEST:
        raise EstateError(f"{sqlite.SQLITE_VERSION} has a known fault; install pysqlite3")
    return ".".join(map(str, sqlite.SQLITE_VERSION))


def _data(settings: Settings) -> str:
    if not settings.data.is_dir():
        raise EstateError(f"{settings.data} is not there; `estate run` makes it")
    free = shutil.disk_usage(settings.data).free
    if free < _LEAST_FREE:
        raise EstateError(f"only {free >> 20} MiB are free under {settings.data}; make room")
    return f"{settings.data} ({free >> 30} GiB free)"


def _broker(settings: Settings) -> str:
    where = f"{settings.broker.host}:{settings.broker.port}"
    try:
        with socket.create_connection((settings.broker.host, settings.broker.port), timeout=2):
            return f"{where} accepts connections"
    except OSError as error:
        raise EstateError(
            f"{where}: {error.strerror or error}; start `estate run`, or set broker.host and .port"
        ) from None


def _journal(settings: Settings) -> str:
    reader = JournalReader(settings.data / "collector.sqlite")
    reader.open()
    try:
        return f"{reader.last_position()} entries so far"
    finally:
        reader.close()


def _series(settings: Settings) -> str:
    reader = open_reader(settings)
    try:
        return f"{settings.series.kind}, {reader.count(0, 4_102_444_800_000)} events"
    finally:
        reader.close()


def _records(settings: Settings) -> str:
    records = Records(settings.records_url)
    records.open()
    try:
        return records.dialect
    finally:
        records.close()


def _processes(settings: Settings) -> str:
    records = Records(settings.records_url)
    records.open()
    try:
        with records.reading() as session:
            states = processes.list_processes(session)
    finally:
        records.close()
    down = [state["name"] for state in states if state["state"] != "running"]
    if not states:
        raise EstateError("nothing was started here yet; `estate run` starts everything")
    if down:
        raise EstateError(f"down: {', '.join(down)}; see the logs in {settings.data / 'logs'}")
    return f"{len(states)} running"


def _rules(settings: Settings) -> str:
    return f"{len(read_rules(settings))} files in order"


def _console(settings: Settings) -> str:
    scheme = "https" if settings.api.tls_cert is not None else "http"
    url = f"{scheme}://127.0.0.1:{settings.api.port}/api/v1/health"
    try:
        health = httpx.get(url, timeout=3, verify=False).json()  # noqa: S501  (loopback)
    except httpx.HTTPError as error:
        raise EstateError(f"{url}: {error}; see {settings.data / 'logs' / 'api.log'}") from None
    return f"{url} says {health.get('status')}"
