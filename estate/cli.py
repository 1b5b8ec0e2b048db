"""The ``estate`` command."""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from core.contracts.errors import EstateError
from core.runtime import logs, memory, settings
from core.runtime.clock import ScaledClock
from core.runtime.lifecycle import end_process, watch_parent
from core.runtime.settings import Settings
from estate import (
    asking,
    audit_cli,
    backup_cli,
    collectors_cli,
    devices_cli,
    edge_cli,
    export_cli,
    influx_cli,
    letters_cli,
    records_cli,
    traffic,
)
from estate.broker_config.cli import broker_config
from estate.command_line import SettingsFile
from estate.command_line import plainly as _plainly
from estate.command_line import prepare as _prepare
from estate.command_line import serve as _serve

app = typer.Typer(
    name="estate",
    help="IoT edge and monitoring for streets, communities and the sites in them.\n\n"
    "`estate run` starts everything on this machine; the other commands start or check one part.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
rules_app = typer.Typer(help="Check rule files.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")
app.add_typer(edge_cli.app, name="edge")
app.add_typer(letters_cli.app, name="deadletters")
app.add_typer(devices_cli.app, name="devices")
app.add_typer(collectors_cli.app, name="collectors")
app.add_typer(records_cli.app, name="records")
app.add_typer(influx_cli.app, name="influx")
app.command("audit")(audit_cli.audit)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"smart-estate {version('smart-estate')}")
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    # What is written here tells of people's homes: keys, sessions, who came and went.
    os.umask(0o077)


@app.command("run")
@_plainly
def run_all(
    settings_file: SettingsFile = None,
    data: Annotated[Path | None, typer.Option(help="The data folder.")] = None,
    host: Annotated[str | None, typer.Option(help="Address of the console.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the console (0: any).")] = None,
    speed: Annotated[float, typer.Option(help="How fast the run's clock goes.")] = 1.0,
    scenario: Annotated[str | None, typer.Option(help="What the simulators play.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes a simulated run repeatable.")] = None,
    simulate: Annotated[
        bool | None, typer.Option(help="Start the simulated community.", show_default=False)
    ] = None,
) -> None:
    """Start the whole system: broker, collector, worker, API, edges and simulators."""
    from estate.node import Node, StoppedError

    loaded = settings.load(settings_file)
    loaded = _with(loaded, data=data)
    loaded = _with(loaded, api=_with(loaded.api, host=host, port=port))
    chosen = _with(loaded.run, scenario=scenario, seed=seed, simulate=simulate)
    loaded = _with(loaded, run=chosen)
    logs.configure(loaded.log, "supervisor")
    node = Node(
        loaded,
        ScaledClock.starting_now(speed) if speed != 1.0 else ScaledClock.from_environment(),
        typer.echo,
        settings_file=settings_file,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: node.request_stop())
    try:
        node.start()
        _tell_what_runs(node, loaded)
        node.start_rest()
        node.watch()
    except StoppedError:
        typer.echo("Stopped before everything had started.")
    finally:
        typer.echo("Stopping …")
        node.stop()
        typer.echo("Stopped.")


def _with(model: Any, **changes: Any) -> Any:
    """Return a copy of settings with those changes that are not None, checked."""
    given = {name: value for name, value in changes.items() if value is not None}
    return type(model).model_validate({**dict(model), **given}) if given else model


def _tell_what_runs(node: Any, loaded: Settings) -> None:
    broker = loaded.broker
    series = loaded.series
    lines = [
        ("Console", node.url),
        ("Sign in", f"{node.sign_in_link()}  (once, within 10 minutes, from this machine)"),
        ("MQTT", f"{broker.host}:{node.broker_port}" + (" (embedded)" if broker.embedded else "")),
        ("Series", series.influxdb.url if series.kind == "influxdb" else "embedded"),
        ("Records", "SQLite" if loaded.records.url is None else "as set"),
        ("Data", str(loaded.data.resolve())),
    ]
    typer.echo("")
    for name, text in lines:
        typer.echo(f"  {name:<9}{text}")
    typer.echo("\n  Ctrl-C stops everything.\n")
    sys.stdout.flush()


@app.command(hidden=True)
@_plainly
def broker(settings_file: SettingsFile = None) -> None:
    """Serve the embedded broker on loopback."""
    from core.runtime import broker as embedded

    loaded = settings.load(settings_file)
    watch_parent(lambda: os._exit(0))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    config = embedded.write_config(loaded.data / "broker.toml", loaded.broker.port)
    embedded.serve(config)


@app.command()
@_plainly
def collector(
    settings_file: SettingsFile = None,
    topology: Annotated[Path | None, typer.Option(help="The topology file.")] = None,
) -> None:
    """Start the collector: ingest, receipts, series and rules."""
    memory.spare()
    from collector.app import CollectorApp
    from collector.shared_app import SharedCollectorApp
    from estate.activation import read_activation

    loaded, clock = _prepare(settings_file, "collector")
    kind = SharedCollectorApp if loaded.collector.shared else CollectorApp
    part = kind(loaded, clock, activation=read_activation(loaded, topology), on_failure=end_process)
    _serve(part, loaded, "collector", "The collector runs.")


@app.command()
@_plainly
def worker(settings_file: SettingsFile = None) -> None:
    """Start the worker: retention and whatever else runs by the clock."""
    from worker.app import WorkerApp

    loaded, clock = _prepare(settings_file, "worker")
    _serve(WorkerApp(loaded, clock), loaded, "worker", "The worker runs.")


@app.command()
@_plainly
def api(settings_file: SettingsFile = None) -> None:
    """Start the API and the console."""
    from dashboard_api.app import ApiApp

    loaded, clock = _prepare(settings_file, "api")
    where = f"{loaded.api.host}:{loaded.api.port}"
    _serve(ApiApp(loaded, clock), loaded, "api", f"The console listens on {where}.")


@app.command()
@_plainly
def simulate(
    scenario: Annotated[
        str | None, typer.Argument(help="A scenario's name or file.", show_default=False)
    ] = None,
    settings_file: SettingsFile = None,
    seed: Annotated[int | None, typer.Option(help="Makes a run repeatable.")] = None,
    share: Annotated[float, typer.Option(help="street: how much of a whole street.")] = 1.0,
    hours: Annotated[float, typer.Option(help="street: hours of run time.")] = 1.0,
    speed: Annotated[float, typer.Option(help="street: how fast the run's clock goes.")] = 5.0,
    flat_out: Annotated[
        bool, typer.Option("--flat-out", help="street: as fast as the collector takes it.")
    ] = False,
    console: Annotated[
        bool, typer.Option("--console", help="street: start the API, too, to look at it.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="street: keep what was stored.")] = False,
) -> None:
    """Start the simulated community: its devices, its network and a scenario.

    `estate simulate street` plays a whole street's traffic into a collector of its own
    instead, and checks that everything it sent is stored once or declared.
    """
    if scenario == "street":
        from estate.street import StreetRun, play

        loaded = settings.load(settings_file)
        logs.configure(loaded.log, "street")
        run_ = StreetRun(share, round(hours * 3600), speed, flat_out, seed or 1, console, keep)
        if not play(loaded, run_, typer.echo):
            raise typer.Exit(1)
        return
    from simulators.app import SimulatorsApp

    loaded, clock = _prepare(settings_file, "simulators")
    part = SimulatorsApp(loaded, clock, scenario=scenario, seed=seed)
    told = f"The simulated community runs; its files are in {part.folder}."
    _serve(part, loaded, "simulators", told)


app.command()(_plainly(traffic.record))
app.command()(_plainly(traffic.replay))
app.command()(_plainly(asking.command))
app.command("backup")(_plainly(backup_cli.backup))
app.command("restore")(_plainly(backup_cli.restore))
app.command("export")(_plainly(export_cli.command))
app.command("broker-config")(_plainly(broker_config))


@app.command("sign-in-link")
@_plainly
def sign_in_link(settings_file: SettingsFile = None) -> None:
    """Print a one-time link that signs the administrator in, from this machine only."""
    from core.storage.records import Records
    from dashboard_api.auth.service import issue_sign_in_link

    loaded = settings.load(settings_file)
    records = Records(loaded.records_url)
    records.open()
    try:
        token = issue_sign_in_link(records)
    finally:
        records.close()
    scheme = "https" if loaded.api.tls_cert is not None else "http"
    typer.echo(f"{scheme}://127.0.0.1:{loaded.api.port}/sign-in?token={token}")


@app.command()
@_plainly
def doctor(
    settings_file: SettingsFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at every part and say what is broken, since when, and what to do about it.

    It only reads, and works while the parts are down. Exit code 1 when something is broken.
    """
    from estate.doctor import examine, report

    findings = examine(settings.load(settings_file))
    if as_json:
        typer.echo(report.as_json(findings))
    else:
        for finding in findings:
            typer.secho(report.line(finding), fg="green" if finding.ok else "red")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@rules_app.command("check")
@_plainly
def rules_check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Rule files; none: the built-in rules.", show_default=False),
    ] = None,
) -> None:
    """Check rule files: every problem with its file, line and column."""
    from rules.builtin import builtin
    from rules.language import check, load

    texts = {str(path): _text(path) for path in files} if files else dict(builtin())
    problems = [problem for name, text in texts.items() for problem in check(text, name)]
    for problem in problems:
        typer.echo(str(problem))
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{len(load(texts).rules)} rules in {len(texts)} files are in order.")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EstateError(f"{path}: {error}") from None
