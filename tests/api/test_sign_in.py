"""Signing in: links, passwords, throttling, sessions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from core.storage.records import accounts
from core.storage.records.account_models import AuditRow, SessionRow, SignInAttempt, SignInLink
from dashboard_api.auth import throttle
from dashboard_api.auth.passwords import Passwords
from dashboard_api.auth.service import issue_sign_in_link
from tests.api.harness import CSRF, PASSWORD, Running


def set_password(run: Running, password: str = PASSWORD) -> None:
    client = run.signed_in()
    answer = client.post("/api/v1/session/password", json={"password": password})
    assert answer.status_code == 200, answer.text
    assert answer.json()["user"]["must_set_password"] is False


def sign_in(
    client: httpx.Client, password: str, name: str = "admin", **headers: str
) -> httpx.Response:
    return client.post(
        "/api/v1/session", json={"name": name, "password": password}, headers=headers
    )


def actions(run: Running) -> list[str]:
    with run.records.reading() as session:
        return list(session.scalars(select(AuditRow.action).order_by(AuditRow.id)))


def test_link_opens_a_session_once(run: Running) -> None:
    token = run.link()
    client = run.client()
    first = client.get("/sign-in", params={"token": token})
    assert first.status_code == 303
    assert first.headers["location"] == "/"
    cookie = first.headers["set-cookie"]
    assert cookie.startswith("estate_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie
    session = client.get("/api/v1/session").json()
    assert session["user"] == {"name": "admin", "role": "administrator", "must_set_password": True}
    again = run.client().get("/sign-in", params={"token": token})
    assert again.status_code == 410
    assert "set-cookie" not in again.headers
    assert "estate sign-in-link" in again.text
    assert actions(run) == [
        "account.created",
        "sign_in_link.issued",
        "sign_in.link",
        "sign_in_link.refused",
    ]


def test_link_expires_after_ten_minutes(run: Running) -> None:
    token = run.link()
    run.wall.move(minutes=10)
    assert run.client().get("/sign-in", params={"token": token}).status_code == 410


def test_link_is_for_loopback_only_and_not_used_up_elsewhere(run: Running) -> None:
    token = run.link()
    client = run.client()
    for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        answer = client.get("/sign-in", params={"token": token}, headers={header: "203.0.113.9"})
        assert answer.status_code == 403, header
    prefetch = client.get(
        "/sign-in", params={"token": token}, headers={"Sec-Purpose": "prefetch;prerender"}
    )
    assert prefetch.status_code == 204
    assert client.get("/sign-in", params={"token": token}).status_code == 303


@pytest.mark.parametrize("token", ["", "x", "é" * 40, "a" * 400])
def test_a_made_up_link_is_refused(run: Running, token: str) -> None:
    assert run.client().get("/sign-in", params={"token": token}).status_code == 410


def test_only_hashes_are_stored(run: Running) -> None:
    token = run.link()
    client = run.client()
    client.get("/sign-in", params={"token": token})
    with run.records.reading() as session:
        stored = [row.token_hash for row in session.scalars(select(SignInLink))]
        stored += [row.token_hash for row in session.scalars(select(SessionRow))]
    assert stored == [
        accounts.token_hash(token),
        accounts.token_hash(client.cookies["estate_session"]),
    ]


def test_password_is_set_and_signs_in(run: Running) -> None:
    assert sign_in(run.client(), PASSWORD).status_code == 401
    set_password(run)
    client = run.client()
    answer = sign_in(client, PASSWORD, name=" Admin ")
    assert answer.status_code == 200, answer.text
    assert client.get("/api/v1/session").json() == answer.json()


@pytest.mark.parametrize("password", ["short", "adminadmin", "aaaaaaaaaaaa"])
def test_weak_passwords_are_refused(run: Running, password: str) -> None:
    answer = run.signed_in().post("/api/v1/session/password", json={"password": password})
    assert answer.status_code == 422
    assert answer.json()["field"] == "password"


def test_changing_a_password_needs_the_current_one_and_ends_other_sessions(run: Running) -> None:
    set_password(run)
    mine, other = run.client(), run.client()
    mine.headers[CSRF] = sign_in(mine, PASSWORD).json()["csrf"]
    sign_in(other, PASSWORD)
    new = {"password": "another lantern"}
    missing = mine.post("/api/v1/session/password", json=new)
    assert (missing.status_code, missing.json()["field"]) == (422, "current")
    wrong = mine.post("/api/v1/session/password", json={**new, "current": "wrong"})
    assert (wrong.status_code, wrong.json()["field"]) == (401, "current")
    right = mine.post("/api/v1/session/password", json={**new, "current": PASSWORD})
    assert right.status_code == 200
    assert mine.get("/api/v1/session").status_code == 200
    assert other.get("/api/v1/session").status_code == 401
    assert sign_in(run.client(), PASSWORD).status_code == 401
    assert sign_in(run.client(), "another lantern").status_code == 200


def test_a_link_may_set_a_forgotten_password(run: Running) -> None:
    set_password(run)
    set_password(run, "a forgotten lantern")
    assert sign_in(run.client(), "a forgotten lantern").status_code == 200


def test_wrong_password_and_unknown_name_look_alike(run: Running) -> None:
    set_password(run)
    wrong = sign_in(run.client(), "not the password")
    unknown = sign_in(run.client(), "not the password", name="nobody")
    assert (wrong.status_code, wrong.json()) == (unknown.status_code, unknown.json())
    assert wrong.status_code == 401


def test_throttled_by_account_whatever_the_name_and_the_address(run: Running) -> None:
    set_password(run)
    for name in ("admin", "nobody"):
        client = run.client()
        for _ in range(throttle.BY_NAME):
            assert sign_in(client, "wrong", name=name).status_code == 401
            run.wall.move(seconds=1)
        refused = sign_in(client, PASSWORD, name=name)
        assert refused.status_code == 429
        wait = int(refused.headers["retry-after"])
        assert 880 < wait <= 900
        run.wall.move(seconds=wait - 1)
        assert sign_in(client, PASSWORD, name=name).status_code == 429
        run.wall.move(seconds=1)
        assert sign_in(client, PASSWORD, name=name).status_code == (200 if name == "admin" else 401)
        run.wall.move(minutes=15)


def test_throttled_by_address(run: Running) -> None:
    set_password(run)
    client = run.client()
    for number in range(throttle.BY_ADDRESS):
        assert sign_in(client, "wrong", name=f"name-{number}").status_code == 401
    assert sign_in(client, PASSWORD).status_code == 429
    run.wall.move(minutes=15, seconds=1)
    assert sign_in(client, PASSWORD).status_code == 200


def test_a_success_forgives_the_failures_before_it(run: Running) -> None:
    set_password(run)
    client = run.client()
    for _ in range(3):
        for _ in range(throttle.BY_NAME - 1):
            run.wall.move(seconds=1)
            assert sign_in(client, "wrong").status_code == 401
        run.wall.move(seconds=1)
        assert sign_in(client, PASSWORD).status_code == 200


def test_session_slides_and_expires(run: Running) -> None:
    client = run.signed_in()
    begun = client.get("/api/v1/session").json()["expires_at"]
    run.wall.move(hours=11)
    later = client.get("/api/v1/session").json()["expires_at"]
    assert later - begun == 11 * 3_600_000
    run.wall.move(hours=11)
    assert client.get("/api/v1/session").status_code == 200
    run.wall.move(hours=12, seconds=1)
    assert client.get("/api/v1/session").status_code == 401


def test_sign_out_ends_the_session(run: Running) -> None:
    client = run.signed_in()
    token = client.cookies["estate_session"]
    answer = client.delete("/api/v1/session")
    assert answer.status_code == 204
    assert "estate_session" not in client.cookies
    other = run.client(cookies={"estate_session": token})
    assert other.get("/api/v1/session").status_code == 401
    assert actions(run)[-1] == "sign_out"


def test_a_disabled_account_is_out_at_once(run: Running) -> None:
    set_password(run)
    client = run.signed_in()
    with run.records.session() as session:
        user = accounts.find_user(session, "admin")
        assert user is not None
        accounts.disable_user(session, user.id, run.wall.now_ms())
    assert client.get("/api/v1/session").status_code == 401
    assert sign_in(run.client(), PASSWORD).status_code == 401
    with pytest.raises(Exception, match="disabled"):
        issue_sign_in_link(run.records)


def test_every_name_costs_one_verification() -> None:
    """Unknown names, accounts without a password and wrong passwords take the same work."""
    verified: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            verified.append(str(password))
            return super().verify(hash, password)

    passwords = Passwords(Counting(time_cost=1, memory_cost=8, parallelism=1))
    stored = passwords.hash("a right password")
    assert passwords.matches("a right password", stored)
    assert not passwords.matches("a wrong password", stored)
    assert not passwords.matches("any", None)
    assert not passwords.matches("nobody has this password", None)
    assert not passwords.matches("any", "not a hash")
    assert len(verified) == 5


def test_a_flood_of_attempts_does_not_hold_up_the_rest(run: Running) -> None:
    set_password(run)
    client = run.signed_in()
    with ThreadPoolExecutor(8) as pool:
        flood = [
            pool.submit(sign_in, run.client(), "wrong", f"name-{number}") for number in range(16)
        ]
        assert client.get("/api/v1/tree").status_code == 200
        assert {attempt.result().status_code for attempt in flood} <= {401, 429}
    with run.records.reading() as session:
        noted = session.scalars(select(SignInAttempt)).all()
    assert len(noted) == 16


def test_an_old_hash_is_renewed_by_signing_in(run: Running) -> None:
    set_password(run)
    old = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    with run.records.session() as session:
        user = accounts.find_user(session, "admin")
        assert user is not None
        accounts.set_password(session, user.id, old)
    assert sign_in(run.client(), PASSWORD).status_code == 200
    with run.records.reading() as session:
        user = accounts.find_user(session, "admin")
        assert user is not None
        assert user.password_hash is not None
        assert "t=1" in user.password_hash
    assert sign_in(run.client(), PASSWORD).status_code == 200
