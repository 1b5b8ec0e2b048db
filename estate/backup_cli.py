"""``estate backup`` and ``estate restore``: everything of an installation, also while it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from core.contracts.errors import SettingsError
from core.runtime import settings
from core.storage.backup.manifest import BackupManifest
from estate.command_line import SettingsFile

_MB = 1_000_000


def backup(
    target: Annotated[Path, typer.Argument(help="The folder to make; or with --verify to check.")],
    settings_file: SettingsFile = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check a backup instead of making one.")
    ] = False,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Leave keys and passwords out.")
    ] = False,
    with_reservoir: Annotated[
        bool, typer.Option("--with-reservoir", help="The exported Parquet files, too.")
    ] = False,
) -> None:
    """Back up records, journals, series, snapshots, configuration and keys; all may run meanwhile.

    The folder is readable by its owner only: who has it can sign in and read everything.
    """
    from core.storage import backup as backups

    if verify:
        _show(backups.verify(target), f"{target} is whole:")
        return
    wishes = backups.Wishes(keys=not without_keys, reservoir=with_reservoir)
    loaded = settings.load(settings_file)
    if loaded.collector.shared:
        raise SettingsError(
            "collector.shared: what several collectors share is in PostgreSQL and InfluxDB; back "
            "these up with their own tools (the logs need none: the edges have what is not stored)"
        )
    made = backups.take(loaded, settings_file, target.absolute(), _now(), wishes)
    backups.verify(target)
    _show(made, f"{target} was made and verified:")


def restore(
    source: Annotated[Path, typer.Argument(help="A folder that `estate backup` made.")],
    settings_file: SettingsFile = None,
    configuration: Annotated[
        Path | None,
        typer.Option(help="Put the configuration files into this folder, and use them."),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Move what is in the data folder aside; lose PostgreSQL's records."
        ),
    ] = False,
) -> None:
    """Restore a backup into the data folder (and database) that the settings name.

    Stop everything first. What came after the backup is declared as a possible loss.
    """
    from core.storage import backup as backups

    if configuration is not None:
        found = backups.restore_configuration(source, configuration, replace=replace)
        settings_file = settings_file or found
        typer.echo(f"The configuration was restored into {configuration}.")
    loaded = settings.load(settings_file)
    restored = backups.restore(source, loaded, _now(), replace=replace)
    _show(restored.manifest, f"{loaded.data} was restored:")
    if restored.former is not None:
        typer.echo(f"  what was there before is in {restored.former}")
    if restored.declared:
        typer.echo(
            f"  what {restored.declared} edges or devices sent after the backup may be lost: "
            "that is declared, and each edge continues by itself"
        )


def _show(manifest: BackupManifest, title: str) -> None:
    typer.echo(title)
    parts: dict[str, tuple[int, int]] = {}
    for file in manifest.files:
        count, size = parts.get(file.part, (0, 0))
        parts[file.part] = (count + 1, size + file.bytes)
    for part, (count, size) in sorted(parts.items()):
        typer.echo(f"  {part:<14}{count:>7} files {size / _MB:>12.1f} MB")
    if manifest.log is not None:
        typer.echo(f"  the log's position {manifest.position}")
    for item in manifest.left_out:
        typer.echo(f"  without {item.what}: {item.why}")
    for line in manifest.by_hand:
        typer.echo(f"  by hand: {line}")


def _now() -> int:
    return time.time_ns() // 1_000_000
