"""Accounts, sessions, one-time links, throttling and the audit trail."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import select

from core.contracts.errors import ContractError
from core.storage.records import Records, accounts
from core.storage.records.account_models import SessionRow, SignInLink
from core.storage.records.errors import NameTakenError
from tests.storage.records.samples import NOW

HOUR = 3_600_000


def new_user(records: Records, name: str = "Li") -> int:
    with records.session() as session:
        return accounts.create_user(session, name, "admin", NOW).id


def signed_in(records: Records, token: str, now: int = NOW) -> str | None:
    with records.reading() as session:
        found = accounts.find_session(session, token, now)
        return found.user.name if found else None


def sign_in(records: Records, user: int, token: str, expires_at: int = NOW + HOUR) -> None:
    with records.session() as session:
        accounts.create_session(session, token, user, NOW, expires_at, "127.0.0.1")


def test_names_are_unique_whatever_their_case(records: Records) -> None:
    new_user(records, "Li")
    with records.session() as session:
        with pytest.raises(NameTakenError):
            accounts.create_user(session, " LI ", "viewer", NOW)
        accounts.create_user(session, "wang", "viewer", NOW)
    with records.reading() as session:
        assert [user.name for user in accounts.list_users(session)] == ["li", "wang"]
        found = accounts.find_user(session, "lI")
        assert found is not None
        assert (found.role, found.password_hash) == ("admin", None)
        assert accounts.find_user(session, "nobody\x00") is None


@pytest.mark.parametrize("name", ["", "   ", "x" * 65])
def test_names_that_are_none(records: Records, name: str) -> None:
    with records.session() as session, pytest.raises(ContractError, match="name"):
        accounts.create_user(session, name, "admin", NOW)


def test_a_session_lives_until_it_expires_or_ends(records: Records) -> None:
    user = new_user(records)
    sign_in(records, user, "token")
    assert signed_in(records, "token", NOW + HOUR - 1) == "li"
    assert signed_in(records, "token", NOW + HOUR) is None
    assert signed_in(records, "other") is None
    with records.session() as session:
        accounts.delete_session(session, "token")
    assert signed_in(records, "token") is None


def test_no_token_is_stored_as_it_is(records: Records) -> None:
    user = new_user(records)
    sign_in(records, user, "secret-token")
    with records.session() as session:
        accounts.create_link(session, "secret-link", user, NOW, NOW + HOUR)
        kept = [*session.scalars(select(SessionRow.token_hash))]
        kept += session.scalars(select(SignInLink.token_hash))
    assert [len(text) for text in kept] == [64, 64]
    assert not any("secret" in text for text in kept)


def test_a_new_password_ends_the_other_sessions(records: Records) -> None:
    user = new_user(records)
    sign_in(records, user, "mine")
    sign_in(records, user, "elsewhere")
    with records.session() as session:
        accounts.set_password(session, user, "$argon2id$…", keep_session="mine")
    assert (signed_in(records, "mine"), signed_in(records, "elsewhere")) == ("li", None)


def test_a_disabled_account_is_out_at_once(records: Records) -> None:
    user = new_user(records)
    sign_in(records, user, "token")
    with records.session() as session:
        accounts.create_link(session, "link", user, NOW, NOW + HOUR)
        accounts.disable_user(session, user, NOW)
    assert signed_in(records, "token") is None
    with records.session() as session:
        assert accounts.use_link(session, "link", NOW) is None


def test_a_link_signs_in_once_and_not_after_its_time(records: Records) -> None:
    user = new_user(records)
    with records.session() as session:
        accounts.create_link(session, "link", user, NOW, NOW + 60_000)
        accounts.create_link(session, "old", user, NOW, NOW + 60_000)
    with records.session() as session:
        found = accounts.use_link(session, "link", NOW + 1)
        assert found is not None
        assert found.id == user
        assert accounts.use_link(session, "link", NOW + 2) is None
        assert accounts.use_link(session, "old", NOW + 60_000) is None
        assert accounts.use_link(session, "unknown", NOW) is None


def test_of_several_who_use_a_link_at_once_one_succeeds(
    open_records: Callable[[], Records],
) -> None:
    sides = [open_records() for _ in range(4)]
    user = new_user(sides[0])
    with sides[0].session() as session:
        accounts.create_link(session, "link", user, NOW, NOW + 60_000)
    barrier = Barrier(len(sides))

    def use(records: Records) -> bool:
        barrier.wait(10)
        with records.session() as session:
            return accounts.use_link(session, "link", NOW) is not None

    with ThreadPoolExecutor(len(sides)) as pool:
        assert sorted(pool.map(use, sides)) == [False, False, False, True]


def test_failures_are_counted_by_name_since_the_last_success_and_by_address(
    records: Records,
) -> None:
    attempts = [
        (NOW - HOUR, "li", "10.0.0.1", False),
        (NOW, "li", "10.0.0.1", False),
        (NOW + 1, "li", "10.0.0.1", True),
        (NOW + 2, "LI", "10.0.0.2", False),
        (NOW + 3, "wang", "10.0.0.1", False),
    ]
    with records.session() as session:
        for at, name, address, success in attempts:
            accounts.record_attempt(session, at, name, address, success=success)
        found = accounts.failures_since(session, NOW, "Li", "10.0.0.1")
    assert (found.by_name, found.by_address) == (1, 2)


def test_the_audit_trail_is_paged_newest_first(records: Records) -> None:
    with records.session() as session:
        for number in range(5):
            accounts.audit(
                session, NOW + number, "li", "media.view", f"m{number % 2}", "127.0.0.1",
                {"why": "alert"},
            )  # fmt: skip
        accounts.audit(session, NOW + 9, None, "sign_in.failed")
    with records.reading() as session:
        first = accounts.list_audit(session, limit=4)
        second = accounts.list_audit(session, limit=4, before=first.next)
        of_target = accounts.list_audit(session, target="m1")
    assert [row.at - NOW for row in first.items + second.items] == [9, 4, 3, 2, 1, 0]
    assert second.next is None
    assert [row.at - NOW for row in of_target.items] == [3, 1]
    assert first.items[1].detail == {"why": "alert"}


def test_what_has_expired_is_removed(records: Records) -> None:
    user = new_user(records)
    sign_in(records, user, "old", NOW)
    sign_in(records, user, "live", NOW + HOUR)
    with records.session() as session:
        accounts.create_link(session, "old", user, NOW - HOUR, NOW - 1)
        accounts.create_link(session, "live", user, NOW, NOW + 1)
        accounts.record_attempt(session, NOW - HOUR, "li", "a", success=False)
        accounts.record_attempt(session, NOW, "li", "a", success=False)
    with records.session() as session:
        removed = accounts.remove_expired(session, NOW, attempts_before=NOW - 1)
    assert removed == {"sessions": 1, "links": 1, "attempts": 1}
    assert signed_in(records, "live") == "li"
