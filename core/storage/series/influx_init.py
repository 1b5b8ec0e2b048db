"""Making an InfluxDB ready: database or bucket, retention, and InfluxQL's way to a bucket.

Everything may be done again: what is there already is left, and said to be. Sources: InfluxDB 1.x
database management (InfluxQL); 2.x HTTP API (`/api/v2/orgs`, `/buckets`, `/dbrps`); 3 HTTP API
(`/api/v3/configure/database`).
"""

from __future__ import annotations

from typing import Any

from core.contracts.errors import SettingsError
from core.runtime.settings import InfluxSettings
from core.storage.series.influx_http import Influx
from core.storage.series.lineprotocol import identifier

_DAY_S = 86_400
#: The retention policy that InfluxQL names by default, in every version.
_POLICY = "autogen"


def initialise(
    settings: InfluxSettings, retention_days: int, *, shorten: bool = False
) -> list[str]:
    """Make database or bucket, retention and mapping as the settings say; return what was done.

    A retention that is longer than the settings' is shortened only with ``shorten``, because the
    server then deletes what is older. Raises :class:`SettingsError` where that is refused or the
    settings name what is not there, and :class:`core.contracts.errors.StoreUnavailableError` where
    the server does not answer or does not let us.
    """
    influx = Influx(settings)
    influx.open()
    try:
        by_version = {1: _version_1, 2: _version_2, 3: _version_3}
        return by_version[settings.version](influx, settings, retention_days, shorten=shorten)
    finally:
        influx.close()


def _version_1(influx: Influx, settings: InfluxSettings, days: int, *, shorten: bool) -> list[str]:
    name = settings.database
    quoted = identifier(name)
    if not _has(influx.select("SHOW DATABASES"), name):
        influx.command(f"CREATE DATABASE {quoted} WITH DURATION {days}d NAME {identifier(_POLICY)}")
        return [f"database {name}: created, kept {days} days"]
    done = [f"database {name}: there already"]
    for series in influx.select(f"SHOW RETENTION POLICIES ON {quoted}"):
        for row in series.get("values", ()):
            policy = dict(zip(series["columns"], row, strict=True))
            if not policy["default"]:
                continue
            kept_s = _seconds(policy["duration"])
            if kept_s == days * _DAY_S:
                return [*done, f"retention policy {policy['name']}: {days} days already"]
            _allow(kept_s, days, f"retention policy {policy['name']}", shorten=shorten)
            influx.command(
                f"ALTER RETENTION POLICY {identifier(policy['name'])} ON {quoted} DURATION {days}d"
            )
            return [*done, f"retention policy {policy['name']}: now {days} days"]
    influx.command(
        f"CREATE RETENTION POLICY {identifier(_POLICY)} ON {quoted} DURATION {days}d "
        "REPLICATION 1 DEFAULT"
    )
    return [*done, f"retention policy {_POLICY}: created, {days} days"]


def _version_2(influx: Influx, settings: InfluxSettings, days: int, *, shorten: bool) -> list[str]:
    name, org = settings.database, settings.org
    if not org:
        raise SettingsError("series.influxdb.org: InfluxDB 2 needs an organisation's name")
    found = influx.manage("GET", "/api/v2/orgs", params={"org": org}, missing_ok=True)
    orgs = found.get("orgs") or []
    if not orgs:
        raise SettingsError(
            f"series.influxdb.org: there is no organisation {org!r}, or the token may not see it"
        )
    org_id = orgs[0]["id"]
    wanted = {"name": name, "orgID": org_id}
    rules = [{"type": "expire", "everySeconds": days * _DAY_S}]
    buckets = influx.manage("GET", "/api/v2/buckets", params=wanted, missing_ok=True).get("buckets")
    if not buckets:
        bucket = influx.manage("POST", "/api/v2/buckets", json={**wanted, "retentionRules": rules})
        done = [f"bucket {name}: created, kept {days} days"]
    else:
        bucket = buckets[0]
        kept_s = next((r["everySeconds"] for r in bucket.get("retentionRules") or ()), 0)
        if kept_s == days * _DAY_S:
            done = [f"bucket {name}: there already, kept {days} days"]
        else:
            _allow(kept_s, days, f"bucket {name}", shorten=shorten)
            where = f"/api/v2/buckets/{bucket['id']}"
            influx.manage("PATCH", where, json={"retentionRules": rules})
            done = [f"bucket {name}: there already, now kept {days} days"]
    return [*done, _map(influx, name, org_id, bucket["id"])]


def _map(influx: Influx, name: str, org_id: str, bucket_id: str) -> str:
    """Map the database's name to the bucket for InfluxQL; return what was done."""
    params = {"orgID": org_id, "db": name}
    found = influx.manage("GET", "/api/v2/dbrps", params=params).get("content") or []
    for mapping in found:
        if mapping.get("virtual") or not mapping.get("default"):
            continue
        if mapping["bucketID"] == bucket_id:
            return f"InfluxQL mapping {name}/{mapping['retention_policy']}: there already"
        raise SettingsError(
            f"series.influxdb.database: InfluxQL's database {name!r} is mapped to another bucket "
            f"({mapping['bucketID']}); remove that mapping ({mapping['id']}) or choose another name"
        )
    mapping = {
        "bucketID": bucket_id, "database": name, "default": True, "orgID": org_id,
        "retention_policy": _POLICY,
    }  # fmt: skip
    influx.manage("POST", "/api/v2/dbrps", json=mapping)
    return f"InfluxQL mapping {name}/{_POLICY}: created"


def _version_3(influx: Influx, settings: InfluxSettings, days: int, *, shorten: bool) -> list[str]:
    del shorten  # InfluxDB 3 Core cannot change a retention
    name = settings.database
    body = {"db": name, "retention_period": f"{days}d"}
    created = influx.manage("POST", "/api/v3/configure/database", json=body, exists_ok=True)
    if created is influx.EXISTS:
        return [f"database {name}: there already, its retention is left as it is"]
    return [f"database {name}: created, kept {days} days"]


def _allow(kept_s: int, days: int, what: str, *, shorten: bool) -> None:
    """Refuse to shorten a retention (0: for ever) that nobody asked to be shortened."""
    if (kept_s == 0 or kept_s > days * _DAY_S) and not shorten:
        kept = "for ever" if kept_s == 0 else f"{kept_s / _DAY_S:g} days"
        raise SettingsError(
            f"series.retention_days: {what} keeps {kept}, the settings say {days} days; "
            "--shorten lets the server delete what is older"
        )


def _has(found: list[dict[str, Any]], name: str) -> bool:
    return any(row[0] == name for series in found for row in series.get("values", ()))


def _seconds(duration: str) -> int:
    """Read InfluxQL's form of a duration, such as 9600h0m0s; 0s is for ever."""
    total, number = 0, ""
    for letter in duration:
        if letter.isdigit():
            number += letter
        else:
            total += int(number) * {"h": 3600, "m": 60, "s": 1}[letter]
            number = ""
    return total
