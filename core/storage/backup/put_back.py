"""Restoring a backup: verified first, laid out beside the data folder, then put in its place."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from core.runtime.settings import Settings
from core.storage.backup import configuration, resumption
from core.storage.backup.manifest import BackupError, BackupManifest
from core.storage.backup.rest import at_rest
from core.storage.backup.take import DUMP
from core.storage.backup.verify import verify
from core.storage.files import sync_file, sync_folder
from core.storage.records import Records, dump


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored; ``former`` is where the data folder's former content is now."""

    manifest: BackupManifest
    former: Path | None
    declared: int
    """Possible losses that were declared: one for each edge or device that was heard."""


def restore_configuration(source: Path, target: Path, *, replace: bool = False) -> Path | None:
    """Put the configuration files into a folder; return where the settings file is.

    Files from outside the settings' folder are put into its ``outside``, to be moved by hand.
    Raises :class:`BackupError` where a file is there already and ``replace`` was not given.
    """
    manifest = verify(source)
    start = f"{configuration.FOLDER}/"
    names = [f.path.removeprefix(start) for f in manifest.files if f.part == "configuration"]
    taken = [name for name in names if (target / name).exists()]
    if taken and not replace:
        raise BackupError(f"{target / taken[0]}: is there already; say --replace to overwrite it")
    try:
        for name in names:
            _copy(source / configuration.FOLDER / name, target / name)
    except OSError as error:
        raise BackupError(f"{target}: {error}") from error
    return target / manifest.settings if manifest.settings is not None else None


def restore(source: Path, settings: Settings, now_ms: int, *, replace: bool = False) -> Restored:
    """Restore everything but the configuration into what the settings name.

    With ``replace`` what lies in the data folder is moved aside, and the records in a
    PostgreSQL database are lost.

    Raises:
        BackupError: the backup cannot be trusted, does not fit the settings, or would overwrite.
        InUseError: something runs on the data folder.
        SettingsError: the records' database holds rows, or is of another kind.
        StoreUnavailableError: a database does not answer.
    """
    manifest = verify(source)
    _fit(manifest, settings)
    data = settings.data.absolute()
    if not replace and data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise BackupError(f"data: {data} holds something; say --replace to move it aside")
    draft = data.with_name(f".{data.name}.restoring")
    try:
        with ExitStack() as held:
            if data.is_dir():
                held.enter_context(at_rest(data))
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True, mode=0o700)
            for file in manifest.files:
                if file.path.startswith("data/"):
                    _copy(source / file.path, draft / file.path.removeprefix("data/"))
            declared = _resume(source, manifest, settings, draft, now_ms, replace=replace)
            former = _swap(draft, data, now_ms)
    except OSError as error:
        raise BackupError(f"{data}: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Restored(manifest, former, declared)


def _fit(manifest: BackupManifest, settings: Settings) -> None:
    url = settings.records.url or ""
    kind = "postgresql" if url.startswith("postgres") else "sqlite"
    if manifest.records not in (kind, "none"):
        raise BackupError(
            f"records.url: the backup's records are of {manifest.records}, the settings name "
            f"{kind}; set records.url as it was"
        )
    if manifest.series != settings.series.kind:
        raise BackupError(
            f"series.kind: the backup's is {manifest.series}, the settings' is "
            f"{settings.series.kind}; set it as it was"
        )


def _resume(
    source: Path,
    manifest: BackupManifest,
    settings: Settings,
    draft: Path,
    now_ms: int,
    *,
    replace: bool,
) -> int:
    """Fill the records, and tell every part that this is another life of the log."""
    if manifest.records == "postgresql" and manifest.schema is not None:
        dump.load(settings.records_url, source / DUMP, manifest.schema, replace=replace)
    if manifest.log is None:
        return 0
    journal = draft / "collector.sqlite"
    position = resumption.leap(journal, now_ms)
    known = resumption.streams(journal)
    for outbox in sorted(draft.glob("edges/*/outbox.sqlite")):
        resumption.reconcile_outbox(outbox, outbox.parent.name, known)
    if manifest.records == "none":
        return 0
    inside = settings.records.url or f"sqlite:///{draft / 'records.sqlite'}"
    records = Records(inside)
    records.open()
    try:
        return resumption.declare(records, manifest.log, position, known, now_ms)
    finally:
        records.close()


def _swap(draft: Path, data: Path, now_ms: int) -> Path | None:
    for path in draft.rglob("*"):
        if path.is_file():
            sync_file(path)
    former: Path | None = None
    if data.is_dir() and any(path.suffix != ".lock" for path in data.iterdir()):
        former = data.with_name(f"{data.name}.before-{now_ms}")
        data.rename(former)
    elif data.is_dir():
        shutil.rmtree(data)
    draft.rename(data)
    sync_folder(data.parent)
    return former


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copyfile(source, target)
    target.chmod(0o600)
    sync_file(target)
