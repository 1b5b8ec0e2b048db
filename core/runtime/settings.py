"""Settings: one YAML file plus environment variables; unknown keys are refused.

An environment variable ``ESTATE_API__PORT=8080`` overrides ``api: {port: …}``; its value is
read as YAML. Paths are relative to the file's folder.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.contracts.errors import SettingsError

PREFIX = "ESTATE_"
#: Variables with the prefix that are not settings.
_RESERVED = frozenset({"ESTATE_CLOCK", "ESTATE_SETTINGS", "ESTATE_SUPERVISED"})
M = TypeVar("M", bound=BaseModel)
Port = Annotated[int, Field(ge=0, le=65_535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class BrokerSettings(_Section):
    """The MQTT broker."""

    embedded: bool = True
    """Start a broker of our own (loopback only); false: use the one at host and port."""
    host: str = "127.0.0.1"
    port: Port = 1883
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    canary: bool = True
    """Before the collector listens it tries what an edge must not be able to do, and refuses to
    run when the broker allows it. Only where ``cert_file`` is set and the broker is not embedded.
    """
    canary_port: Port | None = None
    """Where the edges connect to the broker, when that is another port."""
    canary_cert_file: Path | None = None
    """A certificate with an edge's rights, made by `estate broker-config`."""
    canary_key_file: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> BrokerSettings:
        for prefix in ("", "canary_"):
            cert, key = (getattr(self, f"{prefix}{name}_file") for name in ("cert", "key"))
            if (cert is None) != (key is None):
                raise ValueError(f"give {prefix}cert_file and {prefix}key_file together")
            if cert is not None and self.ca_file is None:
                raise ValueError(f"{prefix}cert_file needs ca_file, or nothing would be encrypted")
        return self


class InfluxSettings(_Section):
    """InfluxDB, where ``series.kind`` is influxdb."""

    url: str = "http://127.0.0.1:8086"
    version: Literal[1, 2, 3] = 1
    database: str = "estate"
    """Database (1.x) or bucket (2.x, 3)."""
    org: str = ""
    token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    write: Literal["auto", "v1", "v2"] = "auto"
    """Which write interface; auto: /write for version 1, /api/v2/write through influxdb-client."""


class SeriesSettings(_Section):
    """Where time series are kept."""

    kind: Literal["embedded", "influxdb"] = "embedded"
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = 400
    influxdb: InfluxSettings = InfluxSettings()


class RecordsSettings(_Section):
    """Where alerts, the tree, users and the live sequence are kept."""

    url: str | None = None
    """SQLAlchemy address of a PostgreSQL database; none: SQLite in the data folder."""


class CollectorSettings(_Section):
    """The collector."""

    journal_bytes: Annotated[int, Field(ge=1 << 20)] = 8 << 30
    journal_retention_h: Annotated[float, Field(gt=0)] = 168
    companion: bool = True
    """Write the series and media stores from a second process, which a second core speeds up."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")] = "collector"
    """Its name; of several collectors each has its own."""
    shared: bool = False
    """One of several collectors over the same records (PostgreSQL) and InfluxDB, each with some
    of the sites (docs/scaling.md)."""
    sites: list[str] = []
    """The sites that are to be this collector's, if it is one of several; others can be given
    by ``estate collectors assign``, and what is nobody's goes to the one with the fewest."""
    lease_s: Annotated[float, Field(ge=2, le=60)] = 4
    """Of several: a collector that has not been heard of for so long has lost its sites."""


class MediaSettings(_Section):
    """Snapshots."""

    retention_days: Annotated[int, Field(ge=1, le=3650)] = 30


class ReservoirSettings(_Section):
    """The data reservoir: daily Parquet files of everything that was heard."""

    export: bool = False
    """Export each day (UTC) once it is over; needs the extra ``reservoir``."""
    folder: Path | None = None
    """Where to; none: ``reservoir`` in the data folder."""
    after_h: Annotated[float, Field(ge=0, le=48)] = 1
    """Hours after a day's end until it is exported for the first time."""
    look_back_days: Annotated[int, Field(ge=1, le=400)] = 7
    """So many days back a day that was exported is exported again when late data came."""
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = 1_095


class ApiSettings(_Section):
    """The API and the console."""

    host: str = "127.0.0.1"
    port: Port = 8000
    public_url: str | None = None
    """The address that people use, where a proxy stands in front."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_plain_http: bool = False
    """Serve plain HTTP on other addresses than loopback (only behind a TLS proxy)."""
    session_hours: Annotated[float, Field(gt=0, le=720)] = 12


class RulesSettings(_Section):
    """The rules."""

    builtin: bool = True
    files: list[Path] = []


class RunSettings(_Section):
    """What ``estate run`` starts."""

    simulate: bool = True
    """Start the simulated community where no edges are configured."""
    scenario: str = "showcase"
    seed: int = 1


class LogSettings(_Section):
    """Logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    json_lines: bool = False


class MetricsSettings(_Section):
    """What each process tells Prometheus at ``/metrics``."""

    enabled: bool = True
    host: str = "127.0.0.1"
    """There is no sign-in: beyond loopback only behind a firewall that lets Prometheus in."""
    port: Port = 0
    """0: any free one, written to ``metrics/{process}.json`` of the data folder."""


class Settings(_Section):
    """All settings."""

    data: Path = Path("data")
    """The data folder."""
    topology: Path | None = None
    """The topology file; none: the simulated community's."""
    edges: list[Path] = []
    """The configuration files of the edges that ``estate run`` starts."""
    broker: BrokerSettings = BrokerSettings()
    collector: CollectorSettings = CollectorSettings()
    series: SeriesSettings = SeriesSettings()
    records: RecordsSettings = RecordsSettings()
    media: MediaSettings = MediaSettings()
    reservoir: ReservoirSettings = ReservoirSettings()
    api: ApiSettings = ApiSettings()
    rules: RulesSettings = RulesSettings()
    run: RunSettings = RunSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()

    @property
    def records_url(self) -> str:
        """Return the SQLAlchemy address of the records."""
        return self.records.url or f"sqlite:///{self.data / 'records.sqlite'}"

    @property
    def reservoir_folder(self) -> Path:
        """Return the folder of the data reservoir."""
        return self.reservoir.folder or self.data / "reservoir"


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read settings; raise :class:`SettingsError` that names the key and the nearest known one."""
    raw: Any = {}
    base = Path.cwd()
    if path is not None:
        raw, base = read_yaml(path), path.resolve().parent
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: expected a mapping of settings")
    variables = os.environ if environment is None else environment
    for name, text in sorted(variables.items()):
        if name.startswith(PREFIX) and name not in _RESERVED:
            _override(raw, name, text)
    settings = parse(Settings, raw, str(path or "settings"))
    _refuse_half_shared(settings, str(path or "settings"))
    resolved: Settings = _resolve(settings, base)
    return resolved


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses aliases, by which a small file can grow without bound."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"aliases are not taken\n{event.start_mark}")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> Any:
    """Read a YAML or (by its name) JSON file; raise :class:`SettingsError` with the place.

    YAML is read safely and without aliases. JSON is for files of a street's size, which YAML
    would take a minute for.
    """
    try:
        if path.suffix == ".json":
            return msgspec.json.decode(path.read_bytes())
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  (a safe one)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}") from None


def parse(model: type[M], raw: Any, source: str) -> M:
    """Validate ``raw``; raise :class:`SettingsError` that names each bad key and a near one."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False):
            where = ".".join(str(part) for part in item["loc"])
            message = item["msg"]
            if item["type"] == "extra_forbidden":
                known = _known_keys(model, item["loc"][:-1])
                near = difflib.get_close_matches(str(item["loc"][-1]), known, 1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                message = f"unknown key; {hint}"
            lines.append(f"{source}: {where}: {message}")
        raise SettingsError("\n".join(lines)) from None


def _refuse_half_shared(settings: Settings, source: str) -> None:
    """Raise :class:`SettingsError` where several collectors would share less than they need.

    With records of its own each would take every site for itself.
    """
    if not settings.collector.shared:
        return
    url = settings.records.url
    missing = []
    if url is None or url.startswith("sqlite"):
        missing.append(
            "collectors share one PostgreSQL; set records.url to it, for example "
            "postgresql://estate@db.example/estate"
        )
    if settings.series.kind != "influxdb":
        missing.append("collectors share one InfluxDB; set series.kind to influxdb")
    if missing:
        raise SettingsError("\n".join(f"{source}: collector.shared: {each}" for each in missing))


def _known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    current: Any = model
    for part in path:
        fields = getattr(current, "model_fields", {})
        if part in fields:
            current = _section_in(fields[part].annotation)
    return list(getattr(current, "model_fields", {}))


def _section_in(annotation: Any) -> Any:
    """Return the model that a list, an optional or an annotated type holds, else the type."""
    for inner in get_args(annotation):
        found = _section_in(inner)
        if hasattr(found, "model_fields"):
            return found
    return annotation


def _override(raw: dict[str, Any], name: str, text: str) -> None:
    *path, last = name.removeprefix(PREFIX).lower().split("__")
    section = raw
    for part in path:
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            raise SettingsError(f"{name}: {part} is not a section")
    try:
        section[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        section[last] = text


def _resolve(model: Any, base: Path) -> Any:
    """Make every path of a settings tree absolute, relative to ``base``."""
    changes: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            changes[name] = _resolve(value, base)
        elif isinstance(value, Path):
            changes[name] = base / value
        elif isinstance(value, list) and value and isinstance(value[0], Path):
            changes[name] = [base / item for item in value]
    return model.model_copy(update=changes)
