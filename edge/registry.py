"""The drivers that an edge knows: name in the configuration -> settings model and factory.

The drivers' code (OpenCV, pymodbus, httpx) is imported when a configuration asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edge.driver import Driver, DriverContext
from edge.drivers.camera.settings import CameraSettings
from edge.drivers.dlt645.settings import Dlt645Settings
from edge.drivers.elevator_modbus.settings import ElevatorModbusSettings
from edge.drivers.isapi_door.settings import IsapiDoorSettings
from edge.drivers.settings import DriverSettings


@dataclass(frozen=True, slots=True)
class DriverSpec:
    """One driver: the model of its settings, and what builds it (it opens nothing)."""

    settings: type[DriverSettings]
    create: Callable[[Any, DriverContext], Driver]


def _dlt645(settings: Dlt645Settings, context: DriverContext) -> Driver:
    from edge.drivers.dlt645.driver import Dlt645Driver

    return Dlt645Driver(settings, context)


def _elevator_modbus(settings: ElevatorModbusSettings, context: DriverContext) -> Driver:
    from edge.drivers.elevator_modbus.driver import create

    return create(settings, context)


def _isapi_door(settings: IsapiDoorSettings, context: DriverContext) -> Driver:
    from edge.drivers.isapi_door.driver import IsapiDoorDriver

    return IsapiDoorDriver(settings, context)


def _camera(settings: CameraSettings, context: DriverContext) -> Driver:
    from edge.drivers.camera.driver import CameraDriver

    return CameraDriver(settings, context)


DRIVERS: Mapping[str, DriverSpec] = MappingProxyType(
    {
        "dlt645": DriverSpec(Dlt645Settings, _dlt645),
        "elevator_modbus": DriverSpec(ElevatorModbusSettings, _elevator_modbus),
        "isapi_door": DriverSpec(IsapiDoorSettings, _isapi_door),
        "camera": DriverSpec(CameraSettings, _camera),
    }
)
