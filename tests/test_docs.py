"""What the documents show can be done as shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from core.contracts.batch import EdgeStatus, Receipt, decode_batch, decode_plain, decode_struct
from core.contracts.errors import ContractError
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
    batch, birth, receipt = (block.encode() for block in blocks(WIRE, "json"))
    assert decode_batch(batch).rejects == []
    status = decode_struct(birth, EdgeStatus)
    answer = decode_struct(receipt, Receipt)
    assert answer.lanes["event"] == status.lanes["event"].last == json.loads(batch)["seq"]


def test_the_rule_that_is_shown_can_be_used() -> None:
    [rule] = blocks((DOCS / "rules.md").read_text(encoding="utf-8"), "yaml")
    assert check(rule, "docs/rules.md") == []
