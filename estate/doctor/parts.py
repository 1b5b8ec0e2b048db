"""The parts that answer, or do not: broker, stores, processes, worker, rules, console."""

from __future__ import annotations

import os
from contextlib import closing

import httpx

from core.contracts import topics
from core.contracts.batch import COLLECTOR_STATUS, decode_struct
from core.contracts.errors import ContractError, StoreUnavailableError
from core.contracts.ports import SeriesReader
from core.runtime.link_probe import Answer, ProbeError, probe
from core.storage.journal.survey import holder
from core.storage.records import processes as process_rows
from core.storage.series import EmbeddedReader, InfluxReader, open_reader
from estate.activation import read_rules
from estate.doctor.finding import BrokenError, Finding, Patient
from worker.health import facts

_BROKER_S = 5.0
_REMEDIES = {
    "unreachable": "start `estate run` or the broker, or set broker.host and broker.port",
    "tls": "see broker.ca_file, and whether the broker's certificate names this host and is valid",
    "refused": "see broker.username, broker.password_file and broker.cert_file",
    "silent": "something else listens there, or it is not MQTT 5: set broker.host, broker.port",
}


def broker(patient: Patient) -> str:
    """Connect to the broker as a part does, and subscribe to what the collector listens to."""
    settings = patient.settings.broker
    where = f"{settings.host}:{settings.port}"
    try:
        answer = probe(settings, [topics.COLLECTOR_STATUS], _BROKER_S)
    except ProbeError as error:
        raise BrokenError(f"{where}: {error}", _REMEDIES[error.stage]) from None
    if answer.refused:
        raise BrokenError(
            f"{where} lets us in, but not listen to {', '.join(answer.refused)}",
            "see the broker's access list (ACL) for this name",
        )
    if holder(patient.log) is not None and not _says_online(answer):
        raise BrokenError(
            f"{where} lets us in, but does not show that the collector of this folder is online",
            "see whether the broker's access list (ACL) lets this name read "
            f"{topics.COLLECTOR_STATUS} (the one that `estate broker-config` writes does), and the "
            f"collector: {patient.log_of('collector')}",
        )
    return f"{where} lets us in and listen"


def _says_online(answer: Answer) -> bool:
    payload = answer.retained.get(topics.COLLECTOR_STATUS)
    if payload is None:
        return False
    try:
        return decode_struct(payload, COLLECTOR_STATUS).online
    except ContractError:
        return False


def series(patient: Patient) -> str:
    """Ask the series store something."""
    kind = patient.settings.series.kind
    try:
        with closing(open_reader(patient.settings)) as reader:
            _complain_of_loss(patient, reader)
            count = reader.count(patient.past(3600), patient.now)
    except StoreUnavailableError as error:
        # Of a file that is damaged the store itself says what to do.
        text, _, remedy = str(error).partition("; ")
        if not remedy:
            remedy = (
                "see series.influxdb in the settings, and whether InfluxDB runs"
                if kind == "influxdb"
                else f"see {patient.settings.data / 'series'}: who may read it, and the disk"
            )
        raise BrokenError(f"{kind}: {text}", remedy) from None
    return f"{kind} answers; {count:,} events of the last hour"


def _complain_of_loss(patient: Patient, reader: SeriesReader) -> None:
    """Raise where the store, or a day of it, is gone; who reads only the last hour may not see."""
    if isinstance(reader, InfluxReader) and not reader.is_there():
        raise BrokenError(
            f"influxdb: there is no database {patient.settings.series.influxdb.database}",
            "start the collector: it makes the database (where its user may not: `estate influx "
            "init`), and stores in one that was there before what its log still holds "
            "(collector.journal_retention_h). Or restore a backup first",
        )
    lost = reader.lost() if isinstance(reader, EmbeddedReader) else []
    if lost:
        raise BrokenError(
            f"embedded: {', '.join(map(str, lost))}: listed, and gone",
            "put it back, or restart the collector: it begins the day anew and stores in it what "
            "its log still holds (collector.journal_retention_h)",
        )


def records(patient: Patient) -> str:
    """Look at the records' schema, without migrating it."""
    remedy = "see records.url, and whether the database runs; `estate run` makes and migrates it"
    try:
        with closing(patient.open_records()) as found:
            return f"{found.dialect}, of this version"
    except StoreUnavailableError as error:
        raise BrokenError(str(error), remedy) from None


def processes(patient: Patient) -> list[Finding] | str:
    """Look at the supervised processes."""
    with patient.records() as found, found.reading() as session:
        rows = process_rows.list_processes(session)
    # One of several collectors is never alone: worker and API may be on other machines.
    is_single = holder(patient.log) is not None or patient.settings.collector.shared
    if not rows and is_single:
        return "no supervisor: the parts were started one by one"
    if not rows:
        raise BrokenError("nothing was started here yet", "`estate run` starts everything")
    bad = []
    for row in rows:
        remedy = f"see {patient.log_of(row['name'])}; `estate run` restarts it"
        if row["state"] != "running":
            text = f"{row['name']} is {row['state']} {row['message']}".rstrip()
            bad.append(Finding("processes", False, text, remedy, row["since"]))
        elif found.dialect == "sqlite" and not _lives(row["pid"]):
            text = f"{row['name']} (process {row['pid']}) is gone, and so is its supervisor"
            bad.append(Finding("processes", False, text, "`estate run`"))
    return bad or f"{len(rows)} running"


def worker(patient: Patient) -> list[Finding] | str:
    """Look how the worker's jobs went."""
    with patient.records() as found:
        told = facts(patient.settings, found, patient.now)
    remedy = f"see {patient.log_of('worker')}"
    bad = [
        Finding("worker", False, f"{fact.name}: {fact.message}", remedy)
        for fact in told
        if not fact.ok
    ]
    return bad or f"{len(told)} facts in order"


def rules(patient: Patient) -> str:
    """Read the rules."""
    return f"{len(read_rules(patient.settings))} files in order"


def console(patient: Patient) -> str:
    """Ask the API how it is."""
    api = patient.settings.api
    scheme = "https" if api.tls_cert is not None else "http"
    host = "127.0.0.1" if api.host in ("0.0.0.0", "::", "localhost") else api.host  # noqa: S104
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{api.port}/api/v1/health"
    log = patient.log_of("api")
    try:
        # Its own certificate is another look's business.
        answer = httpx.get(url, timeout=3, verify=False)  # noqa: S501
        status = answer.json().get("status")
    except (httpx.HTTPError, ValueError) as error:
        raise BrokenError(f"{url}: {error}", f"start the API (api.port?); see {log}") from None
    if status != "ok":
        raise BrokenError(f"{url} says {status}", f"see the other findings, and {log}")
    return f"{url} says {status}"


def _lives(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
