"""What local rules remember over a restart, in one file of the edge's data folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.storage.files import sync_folder, write_whole

VERSION = 1


class Held(msgspec.Struct):
    """One alert that stands, as far as the outputs and notices need it."""

    rule: str
    key: str
    colour: str
    subject: str | None


class SwitchState(msgspec.Struct):
    """One output: which alerts ask for it, and how far that has been done.

    ``asked`` counts the alerts that asked so far, ``done`` how many of them the device has
    been told of; ``on`` says whether it was last switched on.
    """

    holders: list[str] = []
    asked: int = 0
    done: int = 0
    on: bool = False
    rule: str = ""
    """The rule that asked last."""


class Notice(msgspec.Struct):
    """One notice on its way."""

    url: str
    id: str
    at: int
    body: dict[str, object]


class Owed(msgspec.Struct):
    """One event of the edge itself that the journal has not taken yet."""

    kind: str
    at: int
    data: dict[str, object]


class State(msgspec.Struct):
    """Everything; ``marks`` is how far the edge's journal (of ``epoch``) was heard."""

    version: int = VERSION
    engine: bytes = b""
    epoch: str = ""
    marks: dict[str, tuple[int, int]] = {}
    unsure: list[str] = []
    families: dict[str, str] = {}
    standing: dict[str, Held] = {}
    switches: dict[str, SwitchState] = {}
    notices: list[Notice] = []
    owed: list[Owed] = []


_decoder = msgspec.msgpack.Decoder(State)


def read(path: Path) -> State | None:
    """Return what an earlier run remembered; None when there is nothing usable.

    Raises OSError when the file is there and cannot be read, ValueError when it is nonsense.
    """
    try:
        blob = path.read_bytes()
    except FileNotFoundError:
        return None
    state = _decoder.decode(blob)
    if state.version != VERSION:
        raise ValueError(f"of version {state.version}")
    return state


def encode(state: State) -> bytes:
    """Return the bytes of a state."""
    return msgspec.msgpack.encode(state)


def write(path: Path, blob: bytes) -> None:
    """Keep a state, durably and whole; raises OSError."""
    write_whole(path, blob)
    sync_folder(path.parent)
