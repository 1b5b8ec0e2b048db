"""The machine under the parts: the library, the disk, secrets and certificates."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from core.runtime.settings import Settings
from core.storage import sqlite
from estate.doctor.finding import BrokenError, Finding, Patient

_LEAST_FREE = 1 << 30
_LEAST_INODES = 10_000
_SOON = timedelta(days=30)


def sqlite_library(_: Patient) -> str:
    """Look at SQLite."""
    if sqlite.SQLITE_VERSION < sqlite.OLDEST:
        raise BrokenError(
            f"{'.'.join(map(str, sqlite.SQLITE_VERSION))} has a fault that can damage databases",
            "install the pysqlite3 package",
        )
    return ".".join(map(str, sqlite.SQLITE_VERSION))


def data_folder(patient: Patient) -> str:
    """Look at the data folder's room and rights."""
    data = patient.settings.data
    if not data.is_dir():
        raise BrokenError(f"{data} is not there", "`estate run` makes it; or set `data`")
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        raise BrokenError(
            f"{data} cannot be written by this user", "chown it to who runs the parts"
        )
    free = shutil.disk_usage(data).free
    if free < _LEAST_FREE:
        raise BrokenError(
            f"only {free >> 20} MiB are free under {data}",
            "make room, or shorten series.retention_days and media.retention_days",
        )
    system = os.statvfs(data)
    if system.f_files and system.f_favail < _LEAST_INODES:
        raise BrokenError(
            f"only {system.f_favail:,} inodes are free under {data}",
            "remove small files of others, or shorten media.retention_days",
        )
    return f"{data} ({free >> 30} GiB free)"


def secrets(patient: Patient) -> list[Finding] | str:
    """Look whether others may read what is secret."""
    open_to_others = []
    for path in _secret_files(patient.settings):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            open_to_others.append(
                Finding("secrets", False, f"{path} has mode {mode:04o}", f"chmod go= {path}")
            )
    return open_to_others or "nobody else may read them"


def _secret_files(settings: Settings) -> Iterator[Path]:
    broker, influx, api = settings.broker, settings.series.influxdb, settings.api
    named = [broker.password_file, broker.key_file, influx.token_file, influx.password_file]
    named += [api.tls_key, *settings.edges]
    data = settings.data
    named += [data / name for name in ("", "records.sqlite", "collector.sqlite")]
    named += sorted(data.glob("edges/*/outbox.sqlite"))
    yield from (path for path in named if path is not None and path.exists())


def certificates(patient: Patient) -> list[Finding] | str:
    """Look how long the certificates are valid."""
    broker, api = patient.settings.broker, patient.settings.api
    named = {"broker.ca_file": broker.ca_file, "broker.cert_file": broker.cert_file}
    named |= {"api.tls_cert": api.tls_cert}
    now = datetime.now(UTC)
    bad, ends = [], []
    for key, path in named.items():
        if path is None:
            continue
        try:
            found = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            text = f"{key}: {path}: {why}"
            bad.append(Finding("certificates", False, text, f"name a PEM file in {key}"))
            continue
        until = min(certificate.not_valid_after_utc for certificate in found)
        ends.append(until)
        if until - now < _SOON:
            verb = "expired" if until < now else "expires"
            text = f"{key}: {path} {verb} on {until:%Y-%m-%d}"
            bad.append(Finding("certificates", False, text, "issue a new one and restart"))
    if bad:
        return bad
    return f"valid until {min(ends):%Y-%m-%d}" if ends else "none are set"
