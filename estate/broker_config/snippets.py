"""What each part's settings say of the broker: the section ``broker`` beside its certificate."""

from __future__ import annotations

from typing import Any

import yaml

from estate.broker_config.identities import Identity
from estate.broker_config.state import State

_HEAD = (
    "# Written by `estate broker-config`. Put this section into the settings of {who}; paths\n"
    "# are relative to the settings file.\n"
)


def client(identity: Identity, state: State) -> str:
    """Return the section of a part, an edge or another client."""
    return _section(identity.name, _common(identity.is_house, state))


def collector(state: State) -> str:
    """Return the collector's section: it also tries the broker as an edge would."""
    canary = {
        "canary_port": state.port,
        "canary_cert_file": "canary.pem",
        "canary_key_file": "canary.key",
    }
    return _section("the collector", {**_common(house=True, state=state), **canary})


def _common(house: bool, state: State) -> dict[str, Any]:
    return {
        "embedded": False,
        "host": state.hosts[0],
        "port": state.house_port if house else state.port,
        "ca_file": "ca.pem",
        "cert_file": "cert.pem",
        "key_file": "key.pem",
    }


def _section(who: str, section: dict[str, Any]) -> str:
    return _HEAD.format(who=who) + yaml.safe_dump({"broker": section}, sort_keys=False)
