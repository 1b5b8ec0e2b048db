"""What the documents show can be done as shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.contracts.batch import EDGE_STATUS, RECEIPT, decode_batch, decode_plain, decode_struct
from core.contracts.commands import COMMAND, LONGEST_LIFE_S, REPLY
from core.contracts.errors import ContractError
from edge.config import from_raw
from edge.local_rules.service import prepare
from rules.language import check

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIRE = (DOCS / "wire.md").read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    return [text for _, text in found]


def test_plain_events_by_hand() -> None:
    good, bad = (
        re.search(r"-t estate/v1/(\S+)/(\S+)/event \\\n\s+-m '(.*?)'$", block, re.MULTILINE)
        for block in blocks(WIRE, "sh")
    )
    assert good
    assert bad
    assert decode_plain(good[3].encode(), good[2], 1).device == good[2]
    with pytest.raises(ContractError) as caught:
        decode_plain(bad[3].encode(), bad[2], 1)
    assert f"> `{caught.value}`" in WIRE


def test_batches_by_hand() -> None:
    batch, birth, receipt, *_ = (block.encode() for block in blocks(WIRE, "json"))
    assert decode_batch(batch).rejects == []
    status = decode_struct(birth, EDGE_STATUS)
    answer = decode_struct(receipt, RECEIPT)
    assert answer.lanes["event"] == status.lanes["event"].last == json.loads(batch)["seq"]


def test_a_command_by_hand() -> None:
    *_, asked, answered = (block.encode() for block in blocks(WIRE, "json"))
    command, reply = decode_struct(asked, COMMAND), decode_struct(answered, REPLY)
    assert command.id == reply.id
    assert command.issued_at < reply.at < command.expires_at
    assert command.expires_at - command.issued_at <= LONGEST_LIFE_S * 1000


def test_the_sections_of_an_edges_file_can_be_used(tmp_path: Path) -> None:
    shown = blocks((DOCS / "edge.md").read_text(encoding="utf-8"), "yaml")
    (tmp_path / "local.yaml").write_text("version: 1\nrules: []\n", encoding="utf-8")
    sections = [yaml.safe_load(block) for block in shown]
    whole: dict[str, Any] = {}
    for section in sections:
        if isinstance(section, dict):
            whole |= {key: value for key, value in section.items() if key != "report"}
    others = ["jinxiu-b1-lobby", "jinxiu-siren", "jinxiu-gate-in", "jinxiu-gate-camera"]
    listed = whole["drivers"][0]["meters"]
    listed += [{"device": d, "address": f"{n + 1:012}"} for n, d in enumerate(others)]
    config = from_raw(whole, "docs/edge.md", tmp_path)
    assert config.commands.unlock
    assert config.home_assistant is not None
    assert prepare(config).rules


def test_the_rule_that_is_shown_can_be_used() -> None:
    [rule] = blocks((DOCS / "rules.md").read_text(encoding="utf-8"), "yaml")
    assert check(rule, "docs/rules.md") == []
