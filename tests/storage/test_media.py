"""Snapshots: whole or not there, once, and never outside their folder."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.batch import MAX_MEDIA_BYTES
from core.contracts.errors import ContractError, StoreUnavailableError
from core.storage.media import MediaStore, Snapshot, new_media_id

JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 100 + b"\xff\xd9"
ID = "20261121-" + "0123456789abcdef" * 2
META = {"device": "cam-1", "at": 1_795_000_000_000, "edge": "jinxiu-gate"}


def test_a_picture_comes_back_with_its_header(tmp_path: Path) -> None:
    store = MediaStore(tmp_path / "media")
    assert store.get(ID) is None
    assert store.put(ID, JPEG, META) is True
    assert store.get(ID) == Snapshot(ID, JPEG, META)
    names = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert names == [f"media/20261121/{ID}.jpg", f"media/20261121/{ID}.json"]


def test_putting_it_again_changes_nothing(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    store.put(ID, JPEG, META)
    assert store.put(ID, JPEG, META) is False
    with pytest.raises(ContractError, match="another picture"):
        store.put(ID, JPEG[:-2] + b"x\xff\xd9", META)
    assert store.get(ID) == Snapshot(ID, JPEG, META)


@pytest.mark.parametrize(
    "jpeg",
    [b"", b"GIF89a", b"\xff\xd8\xff\xe0 cut off", JPEG[:-2], b"\xff\xd8\xff" * MAX_MEDIA_BYTES],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, jpeg: bytes) -> None:
    with pytest.raises(ContractError, match="jpeg"):
        MediaStore(tmp_path).put(ID, jpeg, META)
    assert list(tmp_path.iterdir()) == []


def test_the_largest_picture_is_taken(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    jpeg = JPEG + b"\0" * (MAX_MEDIA_BYTES - len(JPEG))
    assert store.put(ID, jpeg, META)


@pytest.mark.parametrize(
    "media_id",
    [
        "",
        "..",
        f"../{ID}",
        ID[:-1],
        ID + "0",
        ID.upper(),
        ID + "\n",
        ID + ".jpg",
        ID.replace("-", "/"),
        ID.replace("1121", "1321"),
        ID.replace("2", "\uff12"),
    ],
)
def test_other_ids_are_refused(tmp_path: Path, media_id: str) -> None:
    store = MediaStore(tmp_path)
    with pytest.raises(ContractError, match="media"):
        store.get(media_id)
    with pytest.raises(ContractError, match="media"):
        store.put(media_id, JPEG, META)
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=60))
def test_no_text_leaves_the_folder(media_id: str) -> None:
    with pytest.raises(ContractError):
        MediaStore(Path("/nonexistent")).get(media_id)


def test_expiry_takes_whole_days_and_leaves_strangers(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    days = [date(2026, 11, 19), date(2026, 11, 20), date(2026, 11, 21)]
    ids = [new_media_id(day) for day in days for _ in range(2)]
    for media_id in ids:
        store.put(media_id, JPEG, META)
    (tmp_path / "notes").mkdir()
    assert store.expire(date(2026, 11, 21)) == 4
    assert [store.get(media_id) is not None for media_id in ids] == [False] * 4 + [True] * 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["20261121", "notes"]
    assert store.expire(date(2026, 11, 21)) == 0
    assert MediaStore(tmp_path / "none").expire(date(2026, 11, 21)) == 0


def test_a_folder_that_cannot_be_written_is_worth_another_try(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailableError):
        MediaStore(tmp_path / "file").put(ID, JPEG, META)
