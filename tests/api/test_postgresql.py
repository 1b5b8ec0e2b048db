"""The same API over PostgreSQL: what it asks in SQL of its own works there too."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.runtime.settings import RecordsSettings
from dashboard_api.auth import throttle
from tests.api.harness import CSRF, PASSWORD, alert, populate, raised, running
from tests.api.test_live import follow
from tests.api.test_sign_in import set_password, sign_in

pytestmark = pytest.mark.postgresql


def test_a_working_day(postgresql_database: str, tmp_path: Path) -> None:
    with running(tmp_path, records=RecordsSettings(url=postgresql_database)) as run:
        populate(run)
        set_password(run)
        client = run.client()
        for _ in range(throttle.BY_NAME):
            assert sign_in(client, "wrong").status_code == 401
        assert sign_in(client, PASSWORD).status_code == 429
        run.wall.move(minutes=16)
        client.headers[CSRF] = sign_in(client, PASSWORD).json()["csrf"]
        run.wall.move(hours=1)
        since = int(client.get("/api/v1/tree").headers["X-Estate-Sequence"])
        with follow(client, since=since) as stream:
            stream.next()
            run.apply(raised(alert(9)))
            event = stream.next()
            assert (event.id, event.data["id"]) == (since + 1, alert(9).id)
            path = f"/api/v1/alerts/{alert(9).id}/acknowledge"
            assert client.post(path, json={"revision": 1}).json()["state"] == "acknowledged"
            assert stream.next().data["acknowledged_by"] == "admin"
        health = client.get("/api/v1/health").json()
        assert {"name": "records", "state": "ok", "message": "postgresql"} in health["parts"]
