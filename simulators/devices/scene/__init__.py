"""Rendered pictures of what a camera looks at: people, cars, e-bikes, day and night, weather."""

from __future__ import annotations

from simulators.devices.scene.figures import Figure
from simulators.devices.scene.layout import (
    HEIGHT,
    LAYOUTS,
    WIDTH,
    Layout,
    Path,
    Picture,
    Point,
    SceneKind,
)
from simulators.devices.scene.view import Disturbance, Scene, Walk, daylight

__all__ = [
    "HEIGHT",
    "LAYOUTS",
    "WIDTH",
    "Disturbance",
    "Figure",
    "Layout",
    "Path",
    "Picture",
    "Point",
    "Scene",
    "SceneKind",
    "Walk",
    "daylight",
]
