"""What the settings of all drivers have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.contracts.events import ID_PATTERN, KINDS
from edge.driver import ReportRule, health_rule

DeviceId = Annotated[str, Field(pattern=ID_PATTERN)]
Host = Annotated[str, Field(min_length=1, max_length=253)]
Port = Annotated[int, Field(ge=1, le=65_535)]
#: Run time between two polls.
Period = Annotated[float, Field(ge=0.1, le=86_400)]
#: Real time that one answer may take.
Timeout = Annotated[float, Field(ge=0.05, le=120)]


class Section(BaseModel):
    """Base of every settings model: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ReportSettings(Section):
    """When one kind is reported: on change, and at the latest after the period."""

    period_s: Annotated[float, Field(gt=0)] | None = None
    """Run time; none: on change only."""
    deadbands: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Field -> the change that counts."""
    ignore: list[str] = []
    """Fields whose change alone is no reason to report."""


class DriverSettings(Section):
    """What each entry under ``drivers`` can have."""

    driver: str
    report: dict[str, ReportSettings] = {}
    """Kind -> when it is reported, in place of the driver's own rule."""

    @field_validator("report")
    @classmethod
    def _known(cls, report: dict[str, ReportSettings]) -> dict[str, ReportSettings]:
        for kind, rule in report.items():
            if kind not in KINDS:
                raise ValueError(f"unknown kind {kind}")
            fields = KINDS[kind].data.model_fields
            for name in [*rule.deadbands, *rule.ignore]:
                if name not in fields:
                    raise ValueError(f"{kind} has no field {name}; it has {', '.join(fields)}")
        return report

    @abstractmethod
    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of the devices that this entry covers."""


class SecretSettings(Section):
    """One secret, given in exactly one way."""

    password: str | None = None
    password_file: Path | None = None
    password_env: str | None = None


def report_rules(
    settings: DriverSettings, defaults: Mapping[str, ReportRule]
) -> dict[str, ReportRule]:
    """Return the driver's report rules with those of its settings laid over them.

    The settings' period replaces the default; deadbands and ignored fields are added to it.
    """
    rules = {"device.health": health_rule(), **defaults}
    for kind, own in settings.report.items():
        base = rules.get(kind, ReportRule())
        rules[kind] = ReportRule(
            own.period_s, {**base.deadbands, **own.deadbands}, base.ignore | set(own.ignore)
        )
    return rules
