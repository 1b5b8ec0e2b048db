"""Settings: one YAML file, the environment above it, and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.contracts.errors import SettingsError
from core.runtime.settings import Settings, load, parse


def write(folder: Path, text: str) -> Path:
    path = folder / "estate.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_need_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(None, {})
    assert settings.data == tmp_path / "data"
    assert settings.records_url == f"sqlite:///{tmp_path / 'data' / 'records.sqlite'}"
    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 8000)
    assert settings.broker.embedded is True
    assert settings.series.kind == "embedded"


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, "# nothing\n"), {}).api == Settings().api


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    broker = "broker: {ca_file: ca.pem}"
    text = f"data: here\nedges: [a.yaml, /b.yaml]\n{broker}\nrules: {{files: [r.yaml]}}\n"
    settings = load(write(tmp_path, text), {"ESTATE_SERIES__INFLUXDB__TOKEN_FILE": "token"})
    assert settings.data == tmp_path / "here"
    assert settings.edges == [tmp_path / "a.yaml", Path("/b.yaml")]
    assert settings.broker.ca_file == tmp_path / "ca.pem"
    assert settings.rules.files == [tmp_path / "r.yaml"]
    assert settings.series.influxdb.token_file == tmp_path / "token"


def test_the_environment_goes_above_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "api: {port: 8001, host: 0.0.0.0}\n")
    environment = {
        "ESTATE_API__PORT": "9000",
        "ESTATE_BROKER__EMBEDDED": "false",
        "ESTATE_SERIES__INFLUXDB__DATABASE": "street",
        "ESTATE_RULES__FILES": "[more.yaml]",
        "ESTATE_API__PUBLIC_URL": "https://estate.example",
        "ESTATE_CLOCK": "1:2:3",
        "ESTATE_SETTINGS": "elsewhere",
        "ESTATE_SUPERVISED": "1",
        "HOME": "/nowhere",
    }
    settings = load(path, environment)
    assert (settings.api.port, settings.api.host) == (9000, "0.0.0.0")
    assert settings.broker.embedded is False
    assert settings.series.influxdb.database == "street"
    assert settings.rules.files == [tmp_path / "more.yaml"]
    assert settings.api.public_url == "https://estate.example"


def test_text_that_is_not_yaml_is_taken_as_it_is() -> None:
    assert load(None, {"ESTATE_BROKER__USERNAME": "[x"}).broker.username == "[x"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("aip: {port: 1}", "aip: unknown key; did you mean api?"),
        ("api: {prot: 1}", "api.prot: unknown key; did you mean port?"),
        ("series: {influxdb: {orgg: x}}", "series.influxdb.orgg: unknown key; did you mean org?"),
        ("log: {zzz: 1}", "log.zzz: unknown key; known are level, json_lines"),
        ("api: {port: 70000}", "api.port: "),
        ("api: {port: x}", "api.port: "),
        ("api: 5", "api: "),
        ("series: {kind: oracle}", "series.kind: Input should be 'embedded' or 'influxdb'"),
        ("- api", "expected a mapping"),
        ("api: {", "line 1"),
        ("a: &x [1]\nb: *x\n", "aliases are not taken"),
    ],
)
def test_an_error_names_the_key_and_a_near_one(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write(tmp_path, text), {})
    assert says in str(caught.value)
    assert "estate.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ESTATE_API__PROT", "1", "api.prot: unknown key; did you mean port?"),
        ("ESTATE_DATTA", "x", "datta: unknown key; did you mean data?"),
        ("ESTATE_DATA__X", "x", "data: "),
        ("ESTATE_API__PORT__X", "1", "api.port: "),
    ],
)
def test_the_environment_is_checked_too(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {name: value})
    assert says in str(caught.value)


def test_every_error_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write(tmp_path, "aip: 1\napi: {port: -1}\n"), {})
    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load(tmp_path / "none.yaml", {})
    (tmp_path / "latin.yaml").write_bytes(b"data: caf\xe9\n")
    with pytest.raises(SettingsError, match=r"latin\.yaml"):
        load(tmp_path / "latin.yaml", {})


@pytest.mark.parametrize(
    ("broker", "said"),
    [
        ({"cert_file": "a"}, "give cert_file and key_file together"),
        ({"cert_file": "a", "key_file": "b"}, "needs ca_file"),
        ({"ca_file": "c", "canary_key_file": "b"}, "give canary_cert_file and canary_key_file"),
    ],
)
def test_a_brokers_certificates_are_whole_or_refused(broker: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse(Settings, {"broker": broker}, "estate.yaml")


PG = "records: {url: postgresql://estate@db/estate}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("series: {kind: influxdb}", ["records.url"]),
        ("series: {kind: influxdb}\nrecords: {url: sqlite:////tmp/r.sqlite}", ["records.url"]),
        (PG, ["series.kind"]),
        ("", ["records.url", "series.kind"]),
    ],
)
def test_collectors_that_share_need_what_they_share(
    tmp_path: Path, text: str, says: list[str]
) -> None:
    path = write(tmp_path, f"collector: {{shared: true}}\n{text}\n")
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    lines = str(caught.value).splitlines()
    assert len(lines) == len(says)
    for line, key in zip(lines, says, strict=True):
        assert line.startswith(f"{path}: collector.shared: ")
        assert f"set {key} to" in line
    write(tmp_path, f"collector: {{shared: true}}\nseries: {{kind: influxdb}}\n{PG}\n")
    assert load(path, {}).collector.shared
