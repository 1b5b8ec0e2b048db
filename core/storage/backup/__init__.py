"""Backup and restore of an installation, also while it runs (ADR 0022)."""

from core.storage.backup.manifest import BackupError, BackupManifest
from core.storage.backup.put_back import Restored, restore, restore_configuration
from core.storage.backup.take import Wishes, take
from core.storage.backup.verify import verify

__all__ = [
    "BackupError",
    "BackupManifest",
    "Restored",
    "Wishes",
    "restore",
    "restore_configuration",
    "take",
    "verify",
]
