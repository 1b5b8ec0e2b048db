"""Settings of the HTTP JSON driver."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.drivers.settings import (
    DeviceId,
    DriverSettings,
    Host,
    Period,
    Port,
    SecretSettings,
    Section,
    Timeout,
)

VendorId = Annotated[str, Field(min_length=1, max_length=200)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
HeaderText = Annotated[str, Field(pattern=r"^[\x20-\x7e]{0,1000}$")]


class ListenSection(Section):
    """Where a gateway posts to; the secret is the token that it has to bring."""

    host: Host = "127.0.0.1"
    port: Port
    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9_./~-]*$", max_length=200)] = "/"
    """What lies below this path is the topic that a mapping can look at."""
    header: HeaderName = "Authorization"
    """The header with the token: ``Bearer …`` in Authorization, as it is in any other."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    silence_s: Annotated[float, Field(ge=0.5, le=86_400)] = 120
    """Real time without a message after which a device counts as offline."""

    @model_validator(mode="after")
    def _both(self) -> ListenSection:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("give tls_cert and tls_key together")
        return self


class JsonHttpSettings(DriverSettings, SecretSettings):
    """One gateway that is asked (``url``), or that posts to us (``listen``)."""

    driver: Literal["json_http"]
    map: str
    """A mapping that comes with the system, or the path of a file of one's own."""
    devices: Annotated[dict[VendorId, DeviceId], Field(min_length=1, max_length=2_000)]
    """The vendor's id -> device id."""
    url: Annotated[str, Field(pattern=r"^https?://[^/@\s]+(/\S*)?$", max_length=1_000)] | None = (
        None
    )
    method: Literal["GET", "POST"] = "GET"
    body: Annotated[str, Field(max_length=10_000)] | None = None
    headers: dict[HeaderName, HeaderText] = Field(default_factory=dict)
    auth: Literal["none", "basic", "digest", "bearer"] = "none"
    username: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    verify_tls: bool = True
    ca_file: Path | None = None
    period_s: Period = 5
    timeout_s: Timeout = 5
    whole: bool = True
    """Every device stands in every answer; false for lists of records, in which a device that
    is not there only had nothing to tell."""
    listen: ListenSection | None = None
    pseudonym_key_file: Path | None = None
    """32 bytes or more; none: the edge's own key in its data folder, made at the first start."""

    @model_validator(mode="after")
    def _one_way(self) -> JsonHttpSettings:
        if (self.url is None) == (self.listen is None):
            raise ValueError("give exactly one of url and listen")
        secrets = [self.password, self.password_file, self.password_env]
        given = sum(item is not None for item in secrets)
        if (self.listen is not None or self.auth != "none") and given != 1:
            raise ValueError("give exactly one of password, password_file, password_env")
        if self.listen is None and self.auth == "none" and given:
            raise ValueError("a password needs auth: basic, digest or bearer")
        if self.auth in ("basic", "digest") and self.username is None:
            raise ValueError(f"auth: {self.auth} needs a username")
        if self.listen is not None and (self.auth != "none" or self.body or self.headers):
            raise ValueError("auth, body and headers belong to url")
        return self

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids, each once."""
        return tuple(dict.fromkeys(self.devices.values()))
