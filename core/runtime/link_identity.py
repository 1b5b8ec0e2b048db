"""Who a client of the broker is: its name and password, its certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

from paho.mqtt import client as paho

from core.contracts.errors import SettingsError
from core.runtime.settings import BrokerSettings


def identify(client: paho.Client, broker: BrokerSettings) -> None:
    """Give a client the name, the password and the certificates of the settings.

    Raises SettingsError, or OSError, where one of the files cannot be read.
    """
    if broker.username is not None:
        client.username_pw_set(broker.username, _secret(broker.password_file))
    if broker.ca_file is not None:
        client.tls_set(
            str(broker.ca_file),
            certfile=str(broker.cert_file) if broker.cert_file else None,
            keyfile=str(broker.key_file) if broker.key_file else None,
            tls_version=ssl.PROTOCOL_TLS_CLIENT,
        )


def _secret(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"broker.password_file: {path}: {error.strerror}") from None
