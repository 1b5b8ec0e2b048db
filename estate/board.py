"""What the supervisor writes into the records: process states and sign-in links."""

from __future__ import annotations

from core.storage.records import Records, processes
from dashboard_api.auth.service import issue_sign_in_link
from estate.supervisor import ProcessState


class Board:
    """The supervisor's page in the records, which the console shows."""

    def __init__(self, url: str) -> None:
        self._records = Records(url)

    def open(self) -> None:
        """Open the records and forget the processes of the last run."""
        self._records.open()
        with self._records.session() as session:
            processes.forget_processes(session, set())

    def close(self) -> None:
        """Close the records."""
        self._records.close()

    def tell(self, states: list[ProcessState], now: int) -> None:
        """Note process states as of ``now`` (ms); raise StoreUnavailableError to try again."""
        with self._records.session() as session:
            for state in states:
                processes.set_process(
                    session,
                    state.name,
                    state.state,
                    pid=state.pid,
                    restarts=state.restarts,
                    since=now,
                    message=state.message,
                )

    def sign_in_token(self) -> str:
        """Return the token of a new one-time sign-in link."""
        return issue_sign_in_link(self._records)
