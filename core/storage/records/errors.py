"""What the records refuse."""

from __future__ import annotations

from core.contracts.errors import EstateError


class NotFoundError(EstateError):
    """There is no such row; ``what`` names the subject and ``id`` what was asked for."""

    def __init__(self, what: str, id: str) -> None:
        self.what = what
        self.id = id
        super().__init__(f"no {what} {id!r}")


class RevisionConflictError(EstateError):
    """An acknowledgement of a revision older than the one that last asked for attention."""

    def __init__(self, alert_id: str, *, seen: int, attention: int) -> None:
        self.alert_id = alert_id
        self.seen = seen
        self.attention = attention
        super().__init__(
            f"alert {alert_id} worsened meanwhile: revision {attention} asks for attention, "
            f"{seen} was acknowledged"
        )


class LostSiteError(EstateError):
    """A site is another collector's: what this one still has to say of it does not count."""

    def __init__(self, site: str, term: int) -> None:
        self.site = site
        super().__init__(f"site {site} is another collector's; it was this one's in term {term}")


class DecidedError(EstateError):
    """Somebody has decided about a dead letter already; ``state`` is what it is now."""

    def __init__(self, letter: str, state: str) -> None:
        self.letter = letter
        self.state = state
        told = {
            "asked": "a replay was asked for and is on its way",
            "replayed": "it was replayed, and is stored once",
            "discarded": "it was discarded",
        }
        super().__init__(f"dead letter {letter}: {told.get(state, state)}")


class NameTakenError(EstateError):
    """An account of this name exists."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"an account {name!r} exists")
