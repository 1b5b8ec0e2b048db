"""What every route has in common: sign-in, CSRF, origins, hosts, headers, bounded bodies."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog.testing

from core.contracts.errors import SettingsError
from core.runtime.hosts import is_loopback
from core.runtime.settings import ApiSettings, Settings
from core.storage.records import accounts
from dashboard_api.app import ApiApp, create_app
from dashboard_api.security import check_transport, host_name
from dashboard_api.server import PortTakenError, listen
from tests.api.harness import CSRF, FakeClock, Running, running

PUBLIC = {("GET", "/api/v1/health"), ("POST", "/api/v1/session"), ("GET", "/sign-in")}
DESCRIPTION: dict[str, Any] = create_app(None, ApiSettings()).openapi()
ROUTES = [
    (method.upper(), path)
    for path, operations in DESCRIPTION["paths"].items()
    for method in operations
]
GUARDED = [route for route in ROUTES if route not in PUBLIC]
UNSAFE = [route for route in GUARDED if route[0] != "GET"]
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/alerts/{alert}/acknowledge": {"revision": 1},
    "/api/v1/alerts/{alert}/comment": {"text": "x"},
    "/api/v1/session/password": {"password": "a long enough one"},
    "/api/v1/devices/{device}/commands": {"action": "report"},
    "/api/v1/edges/{edge}/commands": {"action": "report"},
    "/api/v1/deadletters/{letter}/replay": {"reason": "mended"},
    "/api/v1/deadletters/{letter}/discard": {"reason": "of no use"},
    "/api/v1/quarantine/{id}/adopt": {
        "node": "b1",
        "family": "meter",
        "name": {"zh": "表", "en": "meter"},
    },
    "/api/v1/quarantine/{id}/forget": {},
    "/api/v1/adoptions/{id}/withdraw": {},
}


def address(path: str) -> str:
    return re.sub(r"\{\w+\}", "00000000-0000-0000-0000-000000000000", path)


def ask(client: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
    return client.request(method, address(path), json=BODIES.get(path), **options)


def problem(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["title"]
    assert body["detail"]
    return str(body["type"]).removeprefix("urn:smart-estate:problem:")


def test_there_are_routes_to_check() -> None:
    assert len(GUARDED) >= 18
    assert {path for _, path in UNSAFE} == {*BODIES, "/api/v1/session"}


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_every_route_needs_a_session(estate: Running, method: str, path: str) -> None:
    for cookies in ({}, {"estate_session": "p.made-up"}, {"estate_session": "x" * 5000}):
        answer = ask(estate.client(cookies=cookies), method, path)
        assert answer.status_code == 401
        assert problem(answer) == "sign-in-required"
    assert DESCRIPTION["paths"][path][method.lower()]["security"]


@pytest.mark.parametrize(("method", "path"), UNSAFE)
def test_every_unsafe_route_needs_the_csrf_token_and_our_origin(
    estate: Running, reader: httpx.Client, method: str, path: str
) -> None:
    cookies = dict(reader.cookies)
    for headers in ({}, {CSRF: "wrong"}, {CSRF: "é".encode()}):
        answer = ask(estate.client(cookies=cookies), method, path, headers=headers)
        assert (answer.status_code, problem(answer)) == (403, "csrf")
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"https://127.0.0.1:{estate.app.port}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = ask(reader, method, path, headers=headers)
        assert (answer.status_code, problem(answer)) == (403, "origin")


def test_signing_in_from_another_site_is_refused(estate: Running) -> None:
    body = {"name": "admin", "password": "x"}
    client = estate.client()
    foreign = client.post("/api/v1/session", json=body, headers={"Origin": "https://evil.example"})
    assert (foreign.status_code, problem(foreign)) == (403, "origin")
    own = client.post("/api/v1/session", json=body, headers={"Origin": estate.url})
    assert own.status_code == 401


def test_roles(run: Running) -> None:
    viewer = run.client()
    with run.records.session() as session:
        user = accounts.create_user(session, "wang", "viewer", run.wall.now_ms())
        accounts.create_link(session, "link-of-wang", user.id, run.wall.now_ms(), 2**50)
    viewer.get("/sign-in", params={"token": "link-of-wang"})
    viewer.headers[CSRF] = viewer.get("/api/v1/session").json()["csrf"]
    assert viewer.get("/api/v1/alerts").status_code == 200
    for path in ("acknowledge", "comment"):
        full = f"/api/v1/alerts/{{alert}}/{path}"
        answer = ask(viewer, "POST", full)
        assert (answer.status_code, problem(answer)) == (403, "forbidden")


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("localhost:8000", True),
        ("127.0.0.1:1", True),
        ("[::1]:8000", True),
        ("127.8.9.1", True),
        ("evil.example", False),
        ("evil.example:8000", False),
        ("localhost.evil.example", False),
        ("192.168.1.4", False),
        ("", False),
    ],
)
def test_only_known_hosts(estate: Running, host: str, known: bool) -> None:
    answer = estate.client().get("/api/v1/health", headers={"Host": host})
    if known:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, problem(answer)) == (421, "unknown-host")
        assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("header", "name"),
    [("A.example:80", "a.example"), ("[::1]:80", "::1"), ("::1", "::1"), ("x", "x"), ("[", "")],
)
def test_host_name(header: str, name: str) -> None:
    assert host_name(header) == name


def test_loopback_names() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example", "")))


@pytest.mark.parametrize("path", ["/", "/api/v1/health", "/api/v1/tree", "/nowhere", "/sign-in"])
def test_security_headers_are_everywhere(estate: Running, path: str) -> None:
    headers = estate.client().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    if path.startswith(("/api", "/sign-in")):
        assert headers["cache-control"] == "no-store"


def test_bodies_are_bounded(estate: Running, reader: httpx.Client) -> None:
    big = {"name": "x", "password": "y" * 100_000}
    answer = estate.client().post("/api/v1/session", json=big)
    assert (answer.status_code, problem(answer)) == (413, "too-large")

    def drip() -> Iterator[bytes]:
        for _ in range(100):
            yield b'{"name": "' + b"x" * 1_000

    streamed = estate.client().post(
        "/api/v1/session", content=drip(), headers={"Content-Type": "application/json"}
    )
    assert streamed.status_code == 413


def test_bodies_that_cannot_be_read_are_problems(estate: Running) -> None:
    client = estate.client()
    json = {"Content-Type": "application/json"}
    for content in (b"{", b"[]", b"\xff", b"[" * 30_000, b"null", b'{"name": 1, "password": "x"}'):
        answer = client.post("/api/v1/session", content=content, headers=json)
        assert answer.status_code in (400, 422), content
        assert problem(answer) == "invalid"
    unknown = client.post("/api/v1/session", json={"name": "a", "password": "b", "admin": True})
    assert (unknown.status_code, unknown.json()["field"]) == (422, "admin")
    text = client.post("/api/v1/session", content=b'{"name":"a","password":"b"}')
    assert text.status_code == 422


def test_a_failure_inside_gives_nothing_away(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    client = run.signed_in()

    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("dashboard_api.tree.endpoints.tree_view", fail)
    with structlog.testing.capture_logs():
        answer = client.get("/api/v1/tree")
    assert (answer.status_code, problem(answer)) == (500, "internal")
    assert "secret" not in answer.text
    assert "content-security-policy" in answer.headers


def test_large_answers_are_compressed(estate: Running) -> None:
    answer = estate.client().get("/api/v1/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json() == DESCRIPTION


# -- how it may be served ----------------------------------------------------------------------


def test_plain_http_beyond_loopback_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"api\.host.*tls_cert.*allow_plain_http"):
        check_transport(ApiSettings(host="0.0.0.0"))
    check_transport(ApiSettings(host="0.0.0.0", allow_plain_http=True))
    check_transport(ApiSettings(host="::1"))
    with pytest.raises(SettingsError, match=r"api\.tls_key"):
        check_transport(ApiSettings(tls_cert=tmp_path / "cert.pem"))
    with pytest.raises(SettingsError, match="not a file"):
        check_transport(ApiSettings(tls_cert=tmp_path / "c", tls_key=tmp_path / "k"))
    with pytest.raises(SettingsError, match=r"api\.public_url"):
        check_transport(ApiSettings(public_url="estate.example"))


def test_a_taken_port_is_named(estate: Running, tmp_path: Path) -> None:
    app = ApiApp(
        Settings(data=tmp_path, api=ApiSettings(port=estate.app.port)), FakeClock(), mqtt=False
    )

    async def start() -> None:
        try:
            await app.start()
        finally:
            await app.stop()

    with pytest.raises(PortTakenError, match=str(estate.app.port)):
        asyncio.run(start())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return cert, key


def test_tls(tmp_path: Path, template: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    api = ApiSettings(port=0, tls_cert=cert, tls_key=key)
    with running(tmp_path, template=template, api=api) as run:
        url = f"https://localhost:{run.app.port}"
        with httpx.Client(base_url=url, verify=ssl.create_default_context(cafile=cert)) as client:
            answer = client.get("/sign-in", params={"token": run.link()})
            assert answer.status_code == 303
            assert "Secure" in answer.headers["set-cookie"]
            assert "max-age" in answer.headers["strict-transport-security"]
            assert client.get("/api/v1/session").status_code == 200


def test_behind_a_proxy(tmp_path: Path, template: Path) -> None:
    api = ApiSettings(port=0, public_url="https://estate.example")
    with running(tmp_path, template=template, api=api) as run:
        proxied = {
            "Host": "estate.example",
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Proto": "https",
        }
        link = run.link()
        client = run.client()
        assert client.get("/sign-in", params={"token": link}, headers=proxied).status_code == 403
        local = client.get("/sign-in", params={"token": link})
        assert local.status_code == 303
        assert "Secure" not in local.headers["set-cookie"]  # plain HTTP on this machine
        csrf = client.get("/api/v1/session").json()["csrf"]
        body = {"password": "behind the proxy"}
        headers = {CSRF: csrf, "Origin": "https://estate.example"}
        assert client.post("/api/v1/session/password", json=body, headers=headers).is_success
        answer = run.client().post(
            "/api/v1/session",
            json={"name": "admin", "password": "behind the proxy"},
            headers={**proxied, "Origin": "https://estate.example"},
        )
        assert answer.is_success
        assert "Secure" in answer.headers["set-cookie"]
        with run.records.reading() as session:
            trail = accounts.list_audit(session).items
        assert trail[0].address == "203.0.113.9"


def test_answers_do_not_wait_for_delayed_acknowledgements() -> None:
    with listen(ApiSettings(port=0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # else asyncio leaves Nagle on
