"""What `estate broker-config` remembers between its runs: ``ca/state.json``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from core.contracts.errors import SettingsError
from core.storage.files import write_whole
from estate.broker_config.identities import Identity


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Issued(_Part):
    """One certificate that was given out."""

    serial: str
    until: datetime
    revoked_at: datetime | None = None


class State(_Part):
    """The options that hold until others are given, and every certificate by its holder's name."""

    version: Literal[1] = 1
    hosts: list[str] = []
    port: int = 8883
    house_port: int = 8884
    bind: str | None = None
    house_bind: str | None = None
    installed: str | None = None
    """Where the folder ``broker`` stands on the broker's machine; None: where it is made."""
    days: int = 825
    extra: list[Identity] = []
    """What no topology names: given by options."""
    named: list[Identity] = []
    """What the topology and the edges' files named in the last run that was given any."""
    issued: dict[str, list[Issued]] = {}
    shut_out: list[str] = []
    """Names that were revoked and not admitted again."""

    def revoke(self, name: str, now: datetime) -> int:
        """Revoke every certificate of a holder and shut it out; return how many there were."""
        valid = [one for one in self.issued.get(name, []) if one.revoked_at is None]
        for one in valid:
            one.revoked_at = now
        if name not in self.shut_out:
            self.shut_out.append(name)
        return len(valid)

    def revoked(self, names: frozenset[str]) -> dict[str, datetime]:
        """Return the serials of the revoked certificates of these holders, with the times."""
        return {
            one.serial: one.revoked_at
            for name, every in self.issued.items()
            if name in names
            for one in every
            if one.revoked_at is not None
        }


def load(path: Path) -> State | None:
    """Return what the last run kept; None before the first. Raises :class:`SettingsError`."""
    try:
        return State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        raise SettingsError(
            f"{path}: {error.errors(include_url=False)[0]['msg']}; restore it from a backup, "
            "or revocations would be forgotten"
        ) from None


def save(path: Path, state: State) -> None:
    """Keep the state; raise OSError."""
    write_whole(path, state.model_dump_json(indent=1).encode() + b"\n", private=True)
