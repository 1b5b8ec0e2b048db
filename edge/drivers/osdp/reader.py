"""One reader as the driver sees it: its key, its health, and its own contacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import osdp_sys

from core.contracts.errors import SettingsError
from edge.driver import Cause, LinkError, read_secret
from edge.drivers.osdp.entrance import Say
from edge.drivers.osdp.settings import ReaderSettings

_KEY_BYTES = 16
_REACHED_S = 1.0


class Reader:
    """What is remembered of one reader; times are monotonic."""

    def __init__(self, settings: ReaderSettings) -> None:
        self.settings = settings
        self.device = settings.device
        self.online = False
        self._why = ""
        self._credentials = False
        self._good_at = 0.0
        self._told_at = 0.0
        self._tamper: dict[int, bool] = {}
        self._standing: dict[str, bool] = {}

    def begin(self, now: float) -> None:
        """Begin anew, with a new line."""
        self.online, self._good_at = False, now
        self._why, self._credentials = "no answer", False

    def went(self, *, online: bool, why: str, credentials: bool) -> None:
        """Take what the bus says about it."""
        self.online, self._why, self._credentials = online, why, credentials

    # -- health ------------------------------------------------------------------------------

    def excuse(self, now: float) -> None:
        """Note that nobody asked it, so that its silence proves nothing."""
        self._good_at = now

    def last_good(self, heard: float) -> float:
        """Return when it was last known to be well."""
        return max(heard, self._good_at)

    def judge(self, now: float, heard: float, silence_s: float) -> bool | LinkError | None:
        """Return True when it is well, the error when it is lost, None when nothing is to say."""
        well = self.online and now - heard < silence_s
        if well:
            self._good_at = now
        lost_s = now - self._good_at
        if now - self._told_at < _REACHED_S or (not well and lost_s < silence_s):
            return None
        self._told_at = now
        if well:
            return True
        cause: Cause = "credentials" if self._credentials else "device"
        return LinkError(f"{self._why or 'no answer'} for {lost_s:.0f} s", cause)

    # -- its own contacts --------------------------------------------------------------------

    def status(self, kind: int, report: bytes) -> list[Say]:
        """Take a status of its own (or of a head that hangs on it); the first one is told, too."""
        if not report:
            return []
        self._tamper[kind] = bool(report[0])
        tampered = {"active": any(self._tamper.values()), "part": "reader"}
        said = self._changed("device.tamper", "tamper", tampered)
        if kind == osdp_sys.STATUS_REPORT_LOCAL and len(report) > 1:
            mains = {"fault": "mains_off", "active": bool(report[1])}
            said += self._changed("device.fault", "mains", mains)
        return said

    def switched(self, *, well: bool) -> list[Say]:
        """Take whether an output was switched; a first success is no news."""
        if well and "output" not in self._standing:
            return []
        data = {"fault": "other", "active": not well, "part": "output"}
        return self._changed("device.fault", "output", data)

    def _changed(self, kind: str, name: str, data: dict[str, Any]) -> list[Say]:
        if self._standing.get(name) is data["active"]:
            return []
        self._standing[name] = data["active"]
        return [Say(kind, self.device, data)]

    # -- its key -----------------------------------------------------------------------------

    def key(self, base: Path) -> bytes | None:
        """Read its key, None without one; raise :class:`SettingsError`, which never shows it."""
        settings = self.settings
        if not settings.secure:
            return None
        text = read_secret(settings.key, settings.key_file, settings.key_env, base, "key")
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != _KEY_BYTES:
            raise SettingsError(f"{self.device}: key: expected 32 hex digits")
        return key
