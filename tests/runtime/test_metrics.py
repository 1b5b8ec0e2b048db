"""The server of a process's metrics, and what the alert rules and the documents say of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from core.contracts.errors import SettingsError, StoreUnavailableError
from core.runtime.metrics import MetricsServer, Source, Spec, registry_of
from core.runtime.settings import MetricsSettings
from scripts.metrics_reference import PAGE, TABLES, page

ROOT = Path(__file__).resolve().parent.parent.parent
SPECS = {spec.name: spec for table in TABLES.values() for spec in table}
COUNTER = Spec("estate_test_things_total", "counter", "Things.", ("kind",))


def serving(folder: Path, *sources: Source, **settings: object) -> MetricsServer:
    chosen = MetricsSettings.model_validate(settings)
    return MetricsServer(chosen, registry_of(sources), folder, "edge north/1")


def scrape(server: MetricsServer) -> dict[str, dict[str, float]]:
    text = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text
    return {
        family.name: {",".join(s.labels.values()): s.value for s in family.samples}
        for family in text_string_to_metric_families(text)
    }


def test_what_is_read_is_of_the_moment_and_a_source_that_fails_hides_no_other(
    tmp_path: Path,
) -> None:
    number = 1
    broken = False

    def things() -> Iterator[Metric]:
        yield COUNTER.each({"a": number})

    def store() -> Iterator[Metric]:
        if broken:
            raise StoreUnavailableError("down")
        yield Spec("estate_test_rows", "gauge", "Rows.").of(7)

    server = serving(tmp_path, store, things)
    server.start()
    try:
        seen = scrape(server)
        assert seen["estate_test_things"] == {"a": 1}
        assert seen["estate_test_rows"] == {"": 7}
        assert seen["estate_scrape_sources_failed"] == {"": 0}
        number, broken = 5, True
        seen = scrape(server)
        assert seen["estate_test_things"] == {"a": 5}
        assert "estate_test_rows" not in seen
        assert seen["estate_scrape_sources_failed"] == {"": 1}
    finally:
        server.stop()


def test_its_address_is_in_a_file_for_as_long_as_it_serves(tmp_path: Path) -> None:
    server = serving(tmp_path / "metrics")
    server.start()
    (file,) = (tmp_path / "metrics").iterdir()
    assert json.loads(file.read_text()) == [
        {"targets": [f"127.0.0.1:{server.port}"], "labels": {"process": "edge north/1"}}
    ]
    other = serving(tmp_path / "metrics", port=server.port)
    with pytest.raises(SettingsError, match=r"metrics\.port: cannot listen"):
        other.start()
    server.stop()
    assert not list((tmp_path / "metrics").iterdir())


def test_it_can_be_left_out(tmp_path: Path) -> None:
    server = serving(tmp_path / "metrics", enabled=False)
    server.start()
    assert server.port == 0
    assert not (tmp_path / "metrics").exists()
    server.stop()


def test_names_follow_the_conventions_of_prometheus() -> None:
    assert len(SPECS) > 80
    for spec in SPECS.values():
        assert re.fullmatch(r"(estate|process)(_[a-z]+)+", spec.name), spec.name
        assert (spec.kind == "counter") == spec.name.endswith("_total"), spec.name
        assert not re.search(r"_(count|sum|bucket|created|info_total)$", spec.name), spec.name
        assert not re.search(r"_(ms|minutes|hours|kb|mb|percent|pct)(_total)?$", spec.name)
        assert not set(spec.labels) & {"device", "person", "user", "alert", "key", "edge", "site"}
        assert spec.help.endswith("."), spec.name


def test_the_page_has_every_metric() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "run `make docs`"
    assert all(f"`{name}`" in text for name in SPECS)


def test_the_alert_rules_name_metrics_and_labels_that_there_are() -> None:
    (group,) = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"]
    assert len(group["rules"]) > 10
    given = {"process", "job"}  # by the scrape configuration and the address files
    for rule in group["rules"]:
        named = set(re.findall(r"\b(?:estate|process)_\w+", rule["expr"]))
        assert named or "up{" in rule["expr"], rule["alert"]
        assert named <= set(SPECS), (rule["alert"], named - set(SPECS))
        labels = given.union(*(SPECS[name].labels for name in named))
        used = set(re.findall(r"\$labels\.(\w+)", yaml.safe_dump(rule["annotations"])))
        used |= set(re.findall(r"[{,]\s*(\w+)\s*=", rule["expr"]))
        assert used <= labels, (rule["alert"], used - labels)
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "remedy"}
