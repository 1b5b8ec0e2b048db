"""``estate record`` and ``estate replay``: a broker's traffic into a file, and back."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from core.contracts.errors import SettingsError
from core.runtime import settings
from core.runtime.clock import ScaledClock
from core.runtime.settings import BrokerSettings

SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", "-s", envvar="ESTATE_SETTINGS", show_default=False,
                 help="The settings file (YAML)."),
]  # fmt: skip
Broker = Annotated[
    str | None,
    typer.Option(help="host:port, in place of the settings' broker.", show_default=False),
]


def record(
    file: Annotated[Path, typer.Argument(help="The new file, for example morning.tape.gz.")],
    settings_file: SettingsFile = None,
    broker: Broker = None,
    topics: Annotated[str, typer.Option(help="MQTT topic filter.")] = "#",
    seconds: Annotated[
        float | None, typer.Option(help="How long; without it until Ctrl-C.", show_default=False)
    ] = None,
) -> None:
    """Write down what a broker passes on; the file holds whatever its events hold: keep it safe."""
    from simulators.recording.record import Recording

    recording = Recording(
        _broker(settings_file, broker), file, ScaledClock.from_environment(), topic_filter=topics
    )
    _stop_by_signal(recording.stop)
    messages = recording.run(seconds, lambda n: typer.echo(f"\r{n:,} messages", nl=False))
    typer.echo(f"\r{messages:,} messages in {file}")
    if recording.missed:
        typer.secho(f"{recording.missed:,} came too fast for the disk", err=True, fg="red")
        raise typer.Exit(1)


def replay(
    file: Annotated[Path, typer.Argument(help="A recording.")],
    settings_file: SettingsFile = None,
    broker: Broker = None,
    speed: Annotated[float, typer.Option(help="How fast; 0: as fast as it goes.")] = 1.0,
    as_new: Annotated[
        bool,
        typer.Option("--as-new", help="Move all times to now, under new epochs, so that a "
                     "collector that knows the recording's batches takes them again."),
    ] = False,
) -> None:  # fmt: skip
    """Publish a recording with its pauses; what a collector says is left out."""
    from simulators.recording.replay import Replay

    if speed < 0:
        raise SettingsError("--speed: give a number above 0, or 0 for as fast as it goes")
    player = Replay(
        _broker(settings_file, broker), file, ScaledClock.from_environment(),
        speed=speed or None, afresh=as_new,
    )  # fmt: skip
    _stop_by_signal(player.stop)
    published = player.run(lambda n: typer.echo(f"\r{n:,} messages", nl=False))
    typer.echo(f"\r{published:,} messages published, {player.left_out:,} of a collector left out")


def _broker(settings_file: Path | None, address: str | None) -> BrokerSettings:
    found = settings.load(settings_file).broker
    if address is None:
        return found
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError(f"--broker {address}: write host:port, for example 127.0.0.1:1883")
    return found.model_copy(update={"host": host, "port": int(port), "embedded": False})


def _stop_by_signal(stop: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())
