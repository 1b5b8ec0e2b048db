"""Talking to InfluxDB: 1.x by ``/write``, 2.x and 3 by ``/api/v2/write``, all by ``/query``.

What an answer means is decided here, once: an error that is the points' own fault is a
:class:`PointRefusedError`, everything else (no answer, 5xx, 429, but also a wrong password or
a right that is missing, which an operator mends) is a :class:`StoreUnavailableError`, so that a
wrong setting never sends good data to the dead letters. A database that is gone under its writer is
a :class:`StoreLostError`.
"""

from __future__ import annotations

import gzip
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from core.contracts.errors import (
    PointRefusedError,
    SettingsError,
    StoreLostError,
    StoreUnavailableError,
)
from core.runtime.hosts import is_loopback
from core.runtime.settings import InfluxSettings
from core.storage.series.lineprotocol import identifier

TIMEOUT_S = 20.0
_REFUSED = frozenset({400, 413, 422})
#: Refusals that are the database's limits rather than the points' fault.
_LIMITS = ("max-series-per-database", "max-values-per-tag")
_GZIP_FROM = 4096


class Influx:
    """A connection to one InfluxDB database or bucket; may be used from several threads."""

    #: What :meth:`manage` returns for something that exists already.
    EXISTS: Final[dict[str, Any]] = {"exists": True}

    def __init__(self, settings: InfluxSettings) -> None:
        self._settings = settings
        self._url = settings.url.rstrip("/")
        name = settings.database
        #: How 1.x and 2.x say that what is written to is missing.
        self._gone = ("database not found", f'bucket "{name}" not found')
        self._by_v2 = settings.write == "v2" or (settings.write == "auto" and settings.version > 1)
        # What never leaves the machine is not worth the two ends' time for it.
        self._compresses = not is_loopback(urlsplit(self._url).hostname or "")
        self._http: httpx.Client | None = None
        self._v2: _V2Writes | None = None

    def open(self) -> None:
        """Read the secrets' files and prepare the clients; nothing is sent yet."""
        settings = self._settings
        token = _secret(settings.token_file, "series.influxdb.token_file")
        password = _secret(settings.password_file, "series.influxdb.password_file")
        auth = (settings.username, password or "") if settings.username else None
        scheme = "Bearer" if settings.version >= 3 else "Token"
        headers = {"Authorization": f"{scheme} {token}"} if token else {}
        # Proxies of the environment are for the outside; the database is the estate's own.
        self._http = httpx.Client(
            auth=auth, headers=headers, timeout=TIMEOUT_S, trust_env=False, http2=False
        )
        if self._by_v2:
            if not token and settings.username:
                token = f"{settings.username}:{password or ''}"  # 1.8's form of a token
            self._v2 = _V2Writes(self._url, token or "", settings, gzip=self._compresses)

    def close(self) -> None:
        """Release the connections."""
        if self._v2 is not None:
            self._v2.close()
            self._v2 = None
        if self._http is not None:
            self._http.close()
            self._http = None

    def write(self, lines: list[str]) -> None:
        """Write lines (nanoseconds).

        Raises :class:`PointRefusedError` (some lines may have been taken nevertheless),
        :class:`StoreLostError` where the database is missing, or :class:`StoreUnavailableError`.
        """
        body = "\n".join(lines).encode()
        if self._v2 is not None:
            self._write_v2(self._v2, body)
        else:
            self._write_v1(body)

    def select(self, statement: str) -> list[dict[str, Any]]:
        """Run InfluxQL; return the series of all statements: name, tags, columns, values."""
        answer = self._ask("GET", statement)
        return [series for result in answer for series in result.get("series", ())]

    def command(self, statement: str) -> None:
        """Run InfluxQL that changes something."""
        self._ask("POST", statement)

    def manage(
        self,
        method: str,
        path: str,
        *,
        missing_ok: bool = False,
        exists_ok: bool = False,
        **request: Any,
    ) -> dict[str, Any]:
        """Use the management interface of 2.x or 3 and return its answer.

        Not found is an empty answer with ``missing_ok``, a conflict :data:`EXISTS` with
        ``exists_ok``. Raises :class:`StoreUnavailableError` on anything else but success.
        """
        try:
            answer = self._open_http.request(method, f"{self._url}{path}", **request)
        except httpx.HTTPError as error:
            raise self._unavailable(str(error) or type(error).__name__) from error
        is_missing = answer.status_code == HTTPStatus.NOT_FOUND
        if is_missing and missing_ok and b"page not found" not in answer.content:
            return {}
        if answer.status_code == HTTPStatus.CONFLICT and exists_ok:
            return self.EXISTS
        if not answer.is_success:
            told = f"{method} {path}: {answer.status_code} {_reason(answer.content)}"
            if is_missing:
                told += self._other_version(answer)
            raise self._unavailable(told)
        try:
            found = msgspec.json.decode(answer.content) if answer.content else {}
        except msgspec.DecodeError:
            found = {}  # some versions answer a success with a text
        return found if isinstance(found, dict) else {}

    def _other_version(self, answer: httpx.Response) -> str:
        """Say that what is not there may be another version's, which servers name themselves."""
        said = answer.headers.get("X-Influxdb-Version", "")
        server = f"the server says that it is {said}" if said else "is the server of that version?"
        return f"; series.influxdb.version is {self._settings.version}: {server}"

    def ensure(self, retention_days: int | None) -> None:
        """Create the database or bucket where it is missing and the server lets us.

        One that is there already is left as it is, its retention too.
        """
        if self._settings.version > 1:
            self._ensure_bucket(retention_days)
            return
        name = self._settings.database
        if self.is_there():
            return
        duration = f" WITH DURATION {retention_days}d" if retention_days else ""
        self._ask("POST", f"CREATE DATABASE {identifier(name)}{duration}")

    def is_there(self) -> bool:
        """Tell whether the database exists; of 2.x and 3, whose tokens may not see it, always."""
        if self._settings.version > 1:
            return True
        name, known = self._settings.database, self.select("SHOW DATABASES")
        return any(row[0] == name for series in known for row in series.get("values", ()))

    def _ensure_bucket(self, retention_days: int | None) -> None:
        """Create a bucket of 2.x; without a right to, the first write tells whether it is there.

        (A token for one bucket may not list buckets, and InfluxDB 3 makes its databases itself.)
        """
        name, org = self._settings.database, self._settings.org
        found = self._manage("GET", "buckets", params={"name": name, "org": org})
        if found.get("buckets"):
            return
        organisations = self._manage("GET", "orgs", params={"org": org}).get("orgs")
        if not organisations:
            return
        rules = [{"type": "expire", "everySeconds": (retention_days or 0) * 86_400}]
        bucket = {"name": name, "orgID": organisations[0]["id"], "retentionRules": rules}
        self._manage("POST", "buckets", json=bucket)

    def _manage(self, method: str, what: str, **request: Any) -> dict[str, Any]:
        """Use the management interface of 2.x; empty where it is not there or not allowed."""
        try:
            answer = self._open_http.request(method, f"{self._url}/api/v2/{what}", **request)
        except httpx.HTTPError as error:
            raise self._unavailable(str(error) or type(error).__name__) from error
        if answer.status_code >= 500:
            raise self._unavailable(f"{answer.status_code} {_reason(answer.content)}")
        try:
            found = msgspec.json.decode(answer.content) if answer.is_success else {}
        except msgspec.DecodeError:
            return {}
        return found if isinstance(found, dict) else {}

    def _write_v1(self, body: bytes) -> None:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self._compresses and len(body) >= _GZIP_FROM:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        params = {"db": self._settings.database, "precision": "ns"}
        try:
            answer = self._open_http.post(
                f"{self._url}/write", params=params, content=body, headers=headers
            )
        except httpx.HTTPError as error:
            raise self._unavailable(str(error) or type(error).__name__) from error
        if not answer.is_success:
            raise self._meaning(answer.status_code, answer.content)

    def _write_v2(self, v2: _V2Writes, body: bytes) -> None:
        try:
            v2.write(body)
        except v2.answers as error:
            response = getattr(error, "response", None)
            content = getattr(response, "data", None) or str(error)
            raise self._meaning(getattr(response, "status", None), content) from error
        except v2.silences as error:
            raise self._unavailable(str(error)) from error

    def _ask(self, method: str, statement: str) -> list[dict[str, Any]]:
        params = {"db": self._settings.database, "q": statement, "epoch": "ns"}
        try:
            answer = self._open_http.request(method, f"{self._url}/query", params=params)
        except httpx.HTTPError as error:
            raise self._unavailable(str(error) or type(error).__name__) from error
        if not answer.is_success:
            raise self._unavailable(f"{answer.status_code} {_reason(answer.content)}")
        try:
            results: list[dict[str, Any]] = msgspec.json.decode(answer.content)["results"]
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise self._unavailable(f"not an answer of InfluxQL: {error}") from error
        for result in results:
            if "error" in result:
                raise self._unavailable(str(result["error"]))
        return results

    def _meaning(self, status: int | None, content: bytes | str) -> Exception:
        reason = _reason(content)
        if status in _REFUSED and not any(limit in reason for limit in _LIMITS):
            return PointRefusedError(reason)
        if status == HTTPStatus.NOT_FOUND and any(words in reason for words in self._gone):
            return StoreLostError(f"InfluxDB at {self._url}: {reason}")
        return self._unavailable(f"{status} {reason}")

    def _unavailable(self, reason: str) -> StoreUnavailableError:
        return StoreUnavailableError(f"InfluxDB at {self._url}: {reason}")

    @property
    def _open_http(self) -> httpx.Client:
        if self._http is None:
            raise self._unavailable("the connection is not open")
        return self._http


class _V2Writes:
    """influxdb-client's synchronous way of writing (the batching one loses points).

    The package is imported here, at run time: its HTTP library opens a socket on import.
    """

    def __init__(self, url: str, token: str, settings: InfluxSettings, *, gzip: bool) -> None:
        from influxdb_client.client.exceptions import InfluxDBError
        from influxdb_client.client.influxdb_client import InfluxDBClient
        from influxdb_client.client.write_api import SYNCHRONOUS
        from urllib3.exceptions import HTTPError

        #: The exceptions that carry the server's answer, and those that tell of none.
        self.answers: tuple[type[Exception], ...] = (InfluxDBError,)
        self.silences: tuple[type[Exception], ...] = (HTTPError, OSError)
        self._bucket = settings.database
        self._org = settings.org or "-"
        self._client: Any = InfluxDBClient(
            url, token=token, org=self._org, timeout=int(TIMEOUT_S * 1000), enable_gzip=gzip
        )
        self._api: Any = self._client.write_api(write_options=SYNCHRONOUS)

    def write(self, body: bytes) -> None:
        self._api.write(bucket=self._bucket, org=self._org, record=body)

    def close(self) -> None:
        self._api.close()
        self._client.close()


def _reason(content: bytes | str) -> str:
    """Return the server's own words, at most 300 characters."""
    try:
        answer = msgspec.json.decode(content)
        found = answer.get("error") or answer.get("message") or answer
    except (msgspec.DecodeError, AttributeError):
        found = content.decode(errors="replace") if isinstance(content, bytes) else content
    text = " ".join(str(found).split())
    return text if len(text) <= 300 else text[:297] + "..."


def _secret(path: Path | None, key: str) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{key}: {path} cannot be read ({error})") from None
