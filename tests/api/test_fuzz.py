"""Whatever a query says, the answer is data or a problem that names the field; never a 500."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.contracts.events import KINDS
from core.contracts.topology import DeviceFamily
from core.runtime.settings import ApiSettings
from dashboard_api.app import create_app
from tests.api.harness import NOW, Running, alert

READS: dict[str, Any] = {
    path: operations["get"]
    for path, operations in create_app(None, ApiSettings()).openapi()["paths"].items()
    if "get" in operations and not path.endswith("/live")
}
NAMES = sorted({p["name"] for read in READS.values() for p in read.get("parameters", ())})
GOOD = [
    "b1", "jinxiu", "lift-1", "meter-1", "power_w", "open", "all", "red", "urgency", "online",
    "last", alert(1).id, *KINDS, *DeviceFamily,
]  # fmt: skip
NUMBERS = st.one_of(
    st.integers(), st.integers(-2, 1100), st.integers(NOW - 10**6, NOW + 10**6), st.floats()
).map(str)
VALUES = st.one_of(
    st.sampled_from(GOOD),
    NUMBERS,
    st.text(max_size=40),
    st.sampled_from(["", "\x00", "%", "' OR 1=1 --", "9" * 30, "1.5.x", "\ud7ff", "../..", "[]"]),
    st.builds("{}.{}".format, NUMBERS, st.text(max_size=8)),
    st.builds("{}.{}.{}".format, NUMBERS, NUMBERS, st.sampled_from(GOOD)),
)
FUZZED = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def check(answer: httpx.Response) -> None:
    assert answer.status_code in (200, 204, 303, 401, 403, 404, 409, 410, 413, 422), answer.text
    if answer.status_code >= 400 and answer.headers["content-type"].startswith("application"):
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert body["status"] == answer.status_code
        if answer.status_code == 422:
            assert body["field"]


@FUZZED
@given(
    path=st.sampled_from(sorted(READS)),
    part=VALUES,
    params=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6),
)
def test_queries(reader: httpx.Client, path: str, part: str, params: dict[str, str]) -> None:
    head, brace, tail = path.partition("{")
    full = head + (quote(part, safe="") + tail.partition("}")[2] if brace else "")
    check(reader.get(full, params=params))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@settings(FUZZED, max_examples=50)
@given(
    path=st.sampled_from(
        [f"alerts/{alert(2).id}/acknowledge", f"alerts/{alert(2).id}/comment", "session/password"]
    ),
    body=st.one_of(
        JSON,
        st.fixed_dictionaries(
            {}, optional={"revision": JSON, "comment": JSON, "text": JSON, "password": JSON}
        ),
    ),
    raw=st.none() | st.binary(max_size=40),
)
def test_bodies(
    fuzzed: tuple[Running, httpx.Client], path: str, body: Any, raw: bytes | None
) -> None:
    content = json.dumps(body).encode("utf-8", "replace") if raw is None else raw
    answer = fuzzed[1].post(
        f"/api/v1/{path}", content=content, headers={"Content-Type": "application/json"}
    )
    if answer.status_code != 400:
        check(answer)
