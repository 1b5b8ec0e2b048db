"""Finds the peers that the modules of this folder bring."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from .peer import Peer


def found() -> list[type[Peer]]:
    """Return every peer class, by protocol and variant."""
    folder = Path(__file__).parent
    peers: list[type[Peer]] = []
    for module in pkgutil.iter_modules([str(folder)]):
        if module.name.startswith("test_"):
            continue
        loaded = importlib.import_module(f"{__package__}.{module.name}")
        many = getattr(loaded, "PEERS", ())
        peers += [*many, loaded.PEER] if hasattr(loaded, "PEER") else [*many]
    return sorted(peers, key=lambda peer: (peer.protocol, peer.variant))


def name_of(peer: type[Peer]) -> str:
    """Return the name of a peer in a test's id."""
    return f"{peer.protocol}-{peer.variant}" if peer.variant else peer.protocol
