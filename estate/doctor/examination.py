"""The order in which the parts are looked at: from the machine upwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import httpx

from core.contracts.errors import EstateError, SettingsError, StoreUnavailableError
from core.runtime.clock import ScaledClock
from core.runtime.settings import Settings
from estate.doctor import flow, machine, parts, shared
from estate.doctor.finding import BrokenError, DependsError, Finding, Patient
from estate.node import last_clock

Look = Callable[[Patient], Iterable[Finding] | str]
LOOKS: Sequence[tuple[str, Look]] = (
    ("sqlite", machine.sqlite_library),
    ("data folder", machine.data_folder),
    ("secrets", machine.secrets),
    ("certificates", machine.certificates),
    ("broker", parts.broker),
    ("collector", flow.collector),
    ("journal", flow.journal),
    ("projections", flow.projections),
    ("series", parts.series),
    ("records", parts.records),
    ("processes", parts.processes),
    ("edges", flow.edges),
    ("outboxes", flow.outboxes),
    ("clocks", flow.clocks),
    ("unknown devices", flow.unknown_devices),
    ("dead letters", flow.dead_letters),
    ("worker", parts.worker),
    ("rules", parts.rules),
    ("console", parts.console),
)
#: What needs the one collector's log; several have one for each site, wherever they run.
_OF_ONE_LOG = frozenset(
    {flow.collector, flow.journal, flow.projections, flow.clocks, flow.unknown_devices}
)


def looks(settings: Settings) -> Sequence[tuple[str, Look]]:
    """Return what is looked at in an installation."""
    if not settings.collector.shared:
        return LOOKS
    rest = [(part, look) for part, look in LOOKS if look not in _OF_ONE_LOG]
    return [*rest, ("collectors", shared.collectors)]


def examine(settings: Settings, clock: ScaledClock | None = None) -> list[Finding]:
    """Look at every part; a part that cannot be looked at is itself a finding.

    A look gives findings, or the text of the one finding that all is well.
    """
    patient = Patient(settings, clock or last_clock(settings) or ScaledClock())
    findings: list[Finding] = []
    for part, look in looks(settings):
        try:
            found = look(patient)
            told = [Finding(part, ok=True, text=found)] if isinstance(found, str) else list(found)
        except BrokenError as ailment:
            told = [Finding(part, False, str(ailment), ailment.remedy, ailment.since)]
        except DependsError as error:
            told = [Finding(part, False, str(error), f"see {error.part}")]
        except SettingsError as error:
            told = [Finding(part, False, str(error), "set what the message names")]
        except (EstateError, OSError, httpx.HTTPError) as error:
            # What is damaged says what to do behind a semicolon.
            text, _, remedy = str(error).partition("; ")
            told = [Finding(part, False, text or type(error).__name__, remedy or _remedy(error))]
        findings += [replace(each, text=" ".join(each.text.split())) for each in told]
    return findings


def _remedy(error: Exception) -> str:
    if isinstance(error, OSError):
        return "see whether this user may read it, and whether the disk is in order"
    if isinstance(error, StoreUnavailableError):
        return "see whether what does not answer runs, and can be reached from here"
    return "the message names the file or setting: put it right, or back from a backup"
