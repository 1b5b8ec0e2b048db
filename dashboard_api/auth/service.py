"""Sign-in: one-time links, passwords, sessions; everything leaves a line in the audit trail.

All times here are the machine's, never the run's scaled time: a link lives ten minutes of the
person who has to click it.
"""

from __future__ import annotations

import hmac
import math
import time
from dataclasses import dataclass, replace
from http import HTTPStatus

import anyio
import structlog
from sqlalchemy import update
from sqlalchemy.orm import Session as Transaction

from core.contracts.errors import EstateError, StoreUnavailableError
from core.runtime.clock import Clock
from core.storage.records import Records, accounts
from core.storage.records.account_models import SessionRow, UserRow
from dashboard_api.auth import throttle, tokens
from dashboard_api.auth.passwords import Passwords, weakness
from dashboard_api.auth.schemas import Role
from dashboard_api.problems import Kind, Problem, invalid

log = structlog.get_logger(__name__)
ADMINISTRATOR = "admin"
LINK_MS = 10 * 60 * 1000
#: A session's expiry is moved no more often than this (ms), so that reading does not write.
_TOUCH_MS = 60_000
_HASHES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Signed:
    """A live session; ``token`` is its secret, ``expires_at`` ms (UTC)."""

    token: str
    user_id: int
    name: str
    role: Role
    must_set_password: bool
    expires_at: int

    @property
    def csrf(self) -> str:
        """Return the CSRF token that goes with the session."""
        return tokens.csrf_of(self.token)

    def has_csrf(self, token: str) -> bool:
        """Tell whether ``token`` is this session's CSRF token, in constant time."""
        return hmac.compare_digest(self.csrf.encode(), token.encode("utf-8", "replace"))


def issue_sign_in_link(records: Records, now: int | None = None) -> str:
    """Return the token of a new one-time link for the administrator, who is created if absent.

    It is valid for ten minutes of the machine's time from ``now`` (ms; default: now), once,
    from loopback: ``/sign-in?token=…``. Only its SHA-256 is stored.

    Raises:
        EstateError: the administrator's account is disabled.
        StoreUnavailableError: the records do not answer.
    """
    moment = time.time_ns() // 1_000_000 if now is None else now
    token = tokens.new_token()
    with records.session() as session:
        user = accounts.find_user(session, ADMINISTRATOR)
        if user is None:
            user = accounts.create_user(session, ADMINISTRATOR, Role.ADMINISTRATOR.value, moment)
            accounts.audit(session, moment, None, "account.created", ADMINISTRATOR)
        elif user.disabled_at is not None:
            raise EstateError(f"the account {ADMINISTRATOR!r} is disabled")
        accounts.create_link(session, token, user.id, moment, moment + LINK_MS)
        accounts.audit(session, moment, None, "sign_in_link.issued", user.name)
    return token


class SignInService:
    """Opens, checks and ends sessions; its methods block and are called in threads.

    What computes a hash (``sign_in``, ``set_password``) is called through ``gate``, so that a
    flood of attempts holds neither memory nor the threads that everything else needs.
    """

    def __init__(
        self, records: Records, wall: Clock, session_hours: float, passwords: Passwords
    ) -> None:
        self._records = records
        self._wall = wall
        self._session_ms = int(session_hours * 3_600_000)
        self._passwords = passwords
        self.gate = anyio.CapacityLimiter(_HASHES_AT_ONCE)
        self.throttled = 0
        """Attempts that were refused without looking at the password, since the start."""

    def use_link(self, token: str, address: str) -> Signed | None:
        """Exchange a one-time link for a session; None when it is used, expired or unknown."""
        now = self._wall.now_ms()
        with self._records.session() as session:
            user = None
            if len(token) <= tokens.MAX_LENGTH:
                user = accounts.use_link(session, token, now)
            if user is None:
                accounts.audit(session, now, None, "sign_in_link.refused", address=address)
                return None
            accounts.audit(session, now, user.name, "sign_in.link", user.name, address)
            return self._open(session, user, tokens.Origin.LINK, now, address)

    def sign_in(self, name: str, password: str, address: str) -> Signed:
        """Open a session by name and password.

        Raises:
            Problem: 401 when they do not belong together (it does not say which is wrong),
                429 with Retry-After after too many failures.
        """
        user, attempt = self._begin(name, address)
        stored = None if user is None or user.disabled_at is not None else user.password_hash
        matches = self._passwords.matches(password, stored)
        renewed = None
        if matches and stored is not None and self._passwords.is_outdated(stored):
            renewed = self._passwords.hash(password)
        now = self._wall.now_ms()
        with self._records.session() as session:
            if user is None or stored is None or not matches:
                accounts.audit(session, now, None, "sign_in.refused", name, address)
                signed = None
            else:
                throttle.succeed(session, attempt)
                if renewed is not None:
                    session.execute(
                        update(UserRow).where(UserRow.id == user.id).values(password_hash=renewed)
                    )
                accounts.audit(session, now, user.name, "sign_in.password", user.name, address)
                signed = self._open(session, user, tokens.Origin.PASSWORD, now, address)
        if signed is None:
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                Kind.SIGN_IN_REFUSED,
                "the name and the password do not belong together",
            )
        return signed

    def check(self, token: str | None, *, extend: bool = True) -> Signed | None:
        """Return the session of a cookie, or None; ``extend`` moves its expiry on."""
        if not token or len(token) > tokens.MAX_LENGTH:
            return None
        now = self._wall.now_ms()
        with self._records.reading() as session:
            found = accounts.find_session(session, token, now)
        if found is None:
            return None
        signed = _signed(token, found.user, found.expires_at)
        if extend and now + self._session_ms - found.expires_at >= _TOUCH_MS:
            return self._extend(signed, now + self._session_ms)
        return signed

    def sign_out(self, signed: Signed, address: str) -> None:
        """End a session."""
        with self._records.session() as session:
            accounts.delete_session(session, signed.token)
            accounts.audit(
                session, self._wall.now_ms(), signed.name, "sign_out", signed.name, address
            )

    def set_password(
        self, signed: Signed, password: str, current: str | None, address: str
    ) -> Signed:
        """Set the password of a session's account and end its other sessions.

        The current password is asked for where there is one, unless this session was opened
        by a link: whoever holds the machine may set it anew.

        Raises:
            Problem: 422 when the new one is too weak or the current one is missing, 401 when
                the current one is wrong, 429 after too many failures.
        """
        if reason := weakness(password, signed.name):
            raise invalid("password", reason)
        by_link = tokens.origin_of(signed.token) is tokens.Origin.LINK
        if not signed.must_set_password and not by_link:
            self._verify_current(signed, current, address)
        hashed = self._passwords.hash(password)
        now = self._wall.now_ms()
        with self._records.session() as session:
            accounts.set_password(session, signed.user_id, hashed, keep_session=signed.token)
            accounts.audit(session, now, signed.name, "password.set", signed.name, address)
        return replace(signed, must_set_password=False)

    def _verify_current(self, signed: Signed, current: str | None, address: str) -> None:
        if current is None:
            raise invalid("current", "give the current password, or sign in with a new link")
        user, attempt = self._begin(signed.name, address)
        if not self._passwords.matches(current, user.password_hash if user else None):
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                Kind.SIGN_IN_REFUSED,
                "the current password is not right",
                field="current",
            )
        with self._records.session() as session:
            throttle.succeed(session, attempt)

    def _begin(self, name: str, address: str) -> tuple[UserRow | None, int]:
        """Note an attempt and find its account; refuse it when there were too many."""
        now = self._wall.now_ms()
        with self._records.session() as session:
            wait = throttle.wait_ms(session, now, name, address)
            if wait == 0:
                attempt = throttle.begin_attempt(session, now, name, address)
                return accounts.find_user(session, name), attempt
        self.throttled += 1
        seconds = math.ceil(wait / 1000)
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            Kind.TOO_MANY,
            f"too many failed attempts; try again in {seconds} s",
            headers={"Retry-After": str(seconds)},
        )

    def _open(
        self, session: Transaction, user: UserRow, origin: tokens.Origin, now: int, address: str
    ) -> Signed:
        token = tokens.new_session_token(origin)
        expires_at = now + self._session_ms
        accounts.create_session(session, token, user.id, now, expires_at, address)
        return _signed(token, user, expires_at)

    def _extend(self, signed: Signed, expires_at: int) -> Signed:
        try:
            with self._records.session() as session:
                session.execute(
                    update(SessionRow)
                    .where(SessionRow.token_hash == accounts.token_hash(signed.token))
                    .values(expires_at=expires_at)
                )
        except StoreUnavailableError as error:  # the session holds; the next request tries again
            log.warning("a session could not be extended", why=str(error))
            return signed
        return replace(signed, expires_at=expires_at)


def _signed(token: str, user: UserRow, expires_at: int) -> Signed:
    return Signed(
        token, user.id, user.name, Role(user.role), user.password_hash is None, expires_at
    )
