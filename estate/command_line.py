"""What the commands have in common: the settings option, plain errors, serving a part."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer

from core.contracts.errors import EstateError, SettingsError
from core.contracts.vocabulary.base import LAST_MS
from core.runtime import logs, settings
from core.runtime.clock import ScaledClock
from core.runtime.lifecycle import App, run
from core.runtime.metrics import FOLDER, Measured, MetricsServer, registry_of
from core.runtime.settings import Settings

if TYPE_CHECKING:
    from core.storage.records import Records
    from core.storage.records.accounts import Who

F = TypeVar("F", bound=Callable[..., Any])
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings", "-s", envvar="ESTATE_SETTINGS", help="The settings file (YAML).",
        show_default=False,
    ),
]  # fmt: skip
FormerSettings = Annotated[
    Path, typer.Argument(help="The settings file of the installation of before (YAML).")
]

#: What to do where a folder holds nothing of this system's.
ANOTHER_FOLDER = (
    "name the settings file of the system (--settings) or its data folder (ESTATE_DATA), or start "
    "it there (`estate run`)"
)


def plainly(command: F) -> F:
    """Print an expected error as one clear message and exit with code 2."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except EstateError as error:
            typer.secho(f"estate: {error}", err=True, fg="red")
            raise typer.Exit(2) from None

    return guarded  # type: ignore[return-value]  # the signature is the command's own


def prepare(file: Path | None, process: str) -> tuple[Settings, ScaledClock]:
    """Read the settings, set up the log, and return them with the run's clock."""
    loaded = settings.load(file)
    logs.configure(loaded.log, process)
    return loaded, ScaledClock.from_environment()


@contextmanager
def opened(file: Path | None) -> Iterator[Records]:
    """Give the records that the settings name, open; raise SettingsError where there are none."""
    records = records_of(settings.load(file))
    records.open()
    try:
        yield records
    finally:
        records.close()


def records_of(loaded: Settings) -> Records:
    """Return the records that settings name; raise SettingsError where nothing has made them."""
    # SQLAlchemy takes its time, and an edge on a small machine has no use for it.
    from core.storage.records import Records

    records = Records(loaded.records_url)
    if records.path is not None and not records.path.exists():
        raise SettingsError(f"{records.path}: there are no records; {ANOTHER_FOLDER}")
    return records


def moment(text: str, option: str) -> int:
    """Return a date or time (ISO 8601; UTC where it has no offset; or ms) in ms.

    Raises SettingsError that names the option.
    """
    # Eight digits are a date in ISO 8601, too.
    is_ms = text.isdecimal() and text.isascii() and len(text) != len("20261121")
    try:
        parsed = None if is_ms else datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"{option}: {text!r} is no time; write 2026-11-21, 2026-11-21T08:00+08:00, or ms"
        ) from None
    if parsed is None:
        at = int(text) if len(text) <= len(str(LAST_MS)) else LAST_MS + 1
    else:
        at = int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
    if at > LAST_MS:
        raise SettingsError(f"{option}: {text!r} is beyond every time that an event may have")
    return at


def check_period(start: int, end: int) -> None:
    """Raise SettingsError where ``[start, end)`` is empty."""
    if end <= start:
        raise SettingsError("--to: must be later than --from")


def whoever() -> Who:
    """Return who sits at the command line, by the machine's clock, for the audit."""
    from core.storage.records.accounts import Who

    return Who(f"{getpass.getuser()} at the command line", ScaledClock().now_ms())


class Part(App, Measured, Protocol):
    """A part's composition root, whose metrics can be asked for."""


class _Watched:
    """A part, and its metrics for as long as it runs."""

    def __init__(self, part: Part, settings: Settings, process: str) -> None:
        self._part = part
        self._settings = settings
        self._process = process
        self._server: MetricsServer | None = None

    async def start(self) -> None:
        await self._part.start()
        try:
            self._server = metrics_server(self._part, self._settings, self._process)
            self._server.start()
        except BaseException:
            await self._part.stop()
            raise

    async def stop(self) -> None:
        ends = [] if self._server is None else [asyncio.to_thread(self._server.stop)]
        await asyncio.gather(*ends, self._part.stop())


def metrics_server(part: Measured, settings: Settings, process: str) -> MetricsServer:
    """Return the server of a process's metrics, with a registry of its own."""
    registry = registry_of(part.sources())
    return MetricsServer(settings.metrics, registry, settings.data / FOLDER, process)


def serve(
    part: Part,
    settings: Settings,
    process: str,
    *lines: str,
    also: Callable[[], None] | None = None,
) -> None:
    """Run a part until it is to stop; print the lines (and call ``also``) once it runs."""

    def ready() -> None:
        if also is not None:
            also()
        for line in lines:
            typer.echo(line)

    run(_Watched(part, settings, process), ready=ready)
