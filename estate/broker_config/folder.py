"""The folder that `estate broker-config` keeps: authorities, the broker's files, a folder each.

``ca/`` signs and stays with whoever administers; ``broker/`` goes to the broker's machine whole;
``parts/NAME``, ``edges/NAME``, ``devices/NAME`` … each go to one machine. A further run keeps
what is good, adds what is missing and writes configuration and access list anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from core.contracts.errors import SettingsError
from core.storage.files import sync_folder, write_whole
from estate.broker_config import mosquitto, snippets, state
from estate.broker_config.authority import Authority, Facts, Pair
from estate.broker_config.identities import Identity, Role
from estate.broker_config.state import Issued, State

#: The holder of the broker's own certificate.
SERVER = "broker"
#: For `--renew`: everything.
ALL = "all"
#: A certificate that ends within this time is made anew.
RENEW_BEFORE = timedelta(days=30)
HOUSE, FIELD = "house", "field"


@dataclass(frozen=True, slots=True)
class Holding:
    """One certificate as it stands after a run."""

    name: str
    role: str
    folder: Path
    until: datetime
    is_new: bool


class ConfigFolder:
    """One run over the folder; every method raises :class:`SettingsError` or OSError."""

    def __init__(self, root: Path, now: datetime) -> None:
        self.root = root
        self._now = now.replace(microsecond=0)
        self._file = root / "ca" / "state.json"
        found = state.load(self._file)
        if found is None and any((root / "ca").glob("*.key")):
            raise SettingsError(
                f"{self._file}: missing, though there are authorities beside it; restore it from "
                "a backup, or begin in a new folder"
            )
        self.state = found or State()
        self._authorities: dict[str, Authority] = {}

    def revoke(self, names: Collection[str], known: Collection[str]) -> dict[str, int]:
        """Revoke all certificates of these holders; return how many each had."""
        for name in names:
            if name not in self.state.issued:
                raise SettingsError(_unknown("--revoke", name, {*self.state.issued, *known}))
            if name == SERVER:
                raise SettingsError(
                    f"--revoke {SERVER}: nobody asks for the list of the broker's own "
                    f"certificate; after a theft of its key use --renew {SERVER}, and if the "
                    "authorities' keys were beside it, begin in a new folder"
                )
        return {name: self.state.revoke(name, self._now) for name in names}

    def forget(self, names: Collection[str]) -> None:
        """Take back what an earlier run's options named; certificates are revoked."""
        for name in names:
            if name not in {one.name for one in self.state.extra}:
                known = [one.name for one in self.state.extra]
                raise SettingsError(_unknown("--forget", name, known))
            self.state.revoke(name, self._now)
            self.state.shut_out.remove(name)
        self.state.extra = [one for one in self.state.extra if one.name not in names]

    def write(self, identities: Iterable[Identity], renew: Collection[str]) -> list[Holding]:
        """Write everything for these identities; return what each holds."""
        wanted = {one.name: one for one in identities}
        for name in renew:
            if name not in {*wanted, SERVER, ALL}:
                raise SettingsError(_unknown("--renew", name, {*wanted, SERVER, ALL}))
            if name in self.state.shut_out:
                self.state.shut_out.remove(name)  # admitted again, under a new certificate
        admitted = [one for one in wanted.values() if one.name not in self.state.shut_out]
        self._make_folder(self.root / "ca")
        state.save(self._file, self.state)
        for name in (HOUSE, FIELD):
            self._authorities[name] = self._authority(name)
        held = [self._server(ALL in renew or SERVER in renew)]
        held += [self._client(one, ALL in renew or one.name in renew) for one in admitted]
        self._write_broker(admitted)
        return held

    # -- certificates ------------------------------------------------------------------------

    def _authority(self, name: str) -> Authority:
        path = self.root / "ca" / name
        pair = _read_pair(path.with_suffix(".pem"), path.with_suffix(".key"))
        if pair is not None:
            return Authority(pair, str(path))
        if self.state.issued:
            raise SettingsError(
                f"{path}.pem and {path.name}.key: missing, though certificates were given out; "
                "restore them from a backup, or begin in a new folder"
            )
        made = Authority.new(f"smart-estate {name}", self._now)
        self._write_pair(made.pair, path.with_suffix(".pem"), path.with_suffix(".key"))
        return made

    def _server(self, renew: bool) -> Holding:
        folder = self.root / "broker"
        hosts = self.state.hosts
        files = folder / "server.pem", folder / "server.key"
        return self._holding(SERVER, SERVER, HOUSE, files, renew, hosts)

    def _client(self, identity: Identity, renew: bool) -> Holding:
        folder = self.root / identity.folder
        certificate, key = identity.files
        files = folder / certificate, folder / key
        authority = HOUSE if identity.is_house else FIELD
        held = self._holding(identity.name, identity.role, authority, files, renew)
        self._write_text(folder / "ca.pem", self._authorities[HOUSE].pair.certificate)
        if identity.role is Role.COLLECTOR:
            self._write_text(folder / "broker.yaml", snippets.collector(self.state))
        elif identity.role is not Role.CANARY:
            self._write_text(folder / "broker.yaml", snippets.client(identity, self.state))
        return held

    def _holding(
        self,
        name: str,
        role: str,
        authority: str,
        files: tuple[Path, Path],
        renew: bool,
        hosts: Collection[str] = (),
    ) -> Holding:
        """Keep a good pair, else make one; what is given out is noted before it is written."""
        signer = self._authorities[authority]
        pair = _read_pair(*files)
        facts = None if pair is None else signer.examine(pair)
        if facts is not None and not renew and self._is_good(facts, name, hosts):
            return Holding(name, role, files[0].parent, facts.until, is_new=False)
        made, facts = signer.issue(name, now=self._now, days=self.state.days, hosts=hosts)
        given = [one for one in self.state.issued.get(name, []) if one.until > self._now]
        given.append(Issued(serial=facts.serial, until=facts.until))
        self.state.issued[name] = given
        state.save(self._file, self.state)
        self._write_pair(made, *files)
        return Holding(name, role, files[0].parent, facts.until, is_new=True)

    def _is_good(self, facts: Facts, name: str, hosts: Collection[str]) -> bool:
        given = {one.serial: one for one in self.state.issued.get(name, [])}
        known = given.get(facts.serial)
        return (
            facts.name == name
            and facts.hosts == set(hosts)
            and known is not None
            and known.revoked_at is None
            and facts.until > self._now + RENEW_BEFORE
        )

    # -- files -------------------------------------------------------------------------------

    def _write_broker(self, admitted: list[Identity]) -> None:
        folder = self.root / "broker"
        installed = PurePosixPath(self.state.installed or folder.resolve().as_posix())
        house = frozenset(one.name for one in admitted if one.is_house)
        house |= {name for name in self.state.issued if name.startswith("part:")}
        field = frozenset(self.state.issued) - house - {SERVER}
        for name, holders in ((HOUSE, house), (FIELD, field)):
            signer = self._authorities[name]
            self._write_text(folder / f"{name}.pem", signer.pair.certificate)
            listed = signer.revocations(self.state.revoked(holders), self._now)
            self._write_text(folder / f"{name}.crl", listed)
        self._write_text(folder / "acl", mosquitto.access_list(admitted))
        self._write_text(folder / "mosquitto.conf", mosquitto.configuration(self.state, installed))
        sync_folder(folder)

    def _write_pair(self, pair: Pair, certificate: Path, key: Path) -> None:
        self._make_folder(key.parent)
        write_whole(key, pair.key, private=True)
        write_whole(certificate, pair.certificate)
        sync_folder(key.parent)

    def _write_text(self, path: Path, text: str | bytes) -> None:
        self._make_folder(path.parent)
        write_whole(path, text.encode() if isinstance(text, str) else text)

    @staticmethod
    def _make_folder(folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _read_pair(certificate: Path, key: Path) -> Pair | None:
    try:
        return Pair(certificate.read_bytes(), key.read_bytes())
    except FileNotFoundError:
        return None


def _unknown(option: str, name: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, sorted(known), 1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known)[:20])}"
    return f"{option} {name}: nobody is called that; {hint}"
