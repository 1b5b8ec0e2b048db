"""A batch may say its version: what is older is read, what is newer is never misread."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts import log
from core.contracts.batch import VERSION, decode_batch, decode_envelope
from core.contracts.errors import ContractError, NewerVersionError
from core.contracts.events import Lane

#: Byte for byte what edges send that know nothing of versions.
FORMER = (
    b'{"edge":"jinxiu-b1","epoch":"0d3f7a52-1f1e-4a57-9d55-2a6d8f2f9c11","lane":"reading",'
    b'"seq":7,"oldest":5,"sealed_at":1795248000200,"events":[{"kind":"meter.reading",'
    b'"at":1795248000000,"seen":1795248000120,"device":"jinxiu-b1-meter",'
    b'"data":{"medium":"electricity","power_w":5123.4}},{"kind":"meter.reading",'
    b'"at":1795248000000,"seen":1795248000121,"device":"jinxiu-b1-water",'
    b'"data":{"medium":"water","volume_m3":12.5}}]}'
)


def of_version(version: object, **more: object) -> bytes:
    raw = json.loads(FORMER) | {"v": version} | more
    return json.dumps(raw, separators=(",", ":")).encode()


def test_what_an_edge_of_the_previous_version_sends_is_read() -> None:
    batch = decode_batch(FORMER)
    assert (batch.lane, batch.seq, batch.rejects) == (Lane.READING, 7, [])
    assert [event.device for _, event in batch.events] == ["jinxiu-b1-meter", "jinxiu-b1-water"]
    assert decode_batch(of_version(1)) == batch


@given(
    version=st.integers(VERSION + 1, 2**50),
    more=st.dictionaries(st.sampled_from(["events", "lane", "sealed_at", "codec"]), st.none()),
)
def test_what_a_newer_edge_sends_is_never_misread(version: int, more: dict[str, None]) -> None:
    payload = of_version(version, **more)
    with pytest.raises(NewerVersionError, match=r"^v: written in version \d+ .* upgrade the coll"):
        decode_batch(payload)
    if "lane" not in more:
        assert decode_envelope(payload).seq == 7
    entry = log.decode_entry(
        log.batch_lane("s1", "jinxiu-b1", "e" * 8, "reading"), 1, 7, 9, payload
    )
    assert isinstance(entry, log.UnreadableEntry)
    assert entry.message.raw == payload


@pytest.mark.parametrize("version", [0, -1, "2", 1.5, None])
def test_a_version_that_is_none_is_refused(version: object) -> None:
    with pytest.raises(ContractError) as refused:
        decode_batch(of_version(version))
    assert not isinstance(refused.value, NewerVersionError)
