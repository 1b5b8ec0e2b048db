"""The drivers that an edge knows: name in the configuration -> settings model and factory.

A driver's code (OpenCV, pymodbus, httpx …) is imported when a configuration asks for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edge.driver import Driver, DriverContext
from edge.drivers.bacnet.settings import BacnetSettings
from edge.drivers.camera.settings import CameraSettings
from edge.drivers.cjt188.settings import Cjt188Settings
from edge.drivers.dlt645.settings import Dlt645Settings
from edge.drivers.elevator_modbus.settings import ElevatorModbusSettings
from edge.drivers.isapi_barrier.settings import IsapiBarrierSettings
from edge.drivers.isapi_camera.settings import IsapiCameraSettings
from edge.drivers.isapi_door.settings import IsapiDoorSettings
from edge.drivers.isapi_elevator.settings import IsapiElevatorSettings
from edge.drivers.json_http.settings import JsonHttpSettings
from edge.drivers.json_mqtt.settings import JsonMqttSettings
from edge.drivers.modbus.settings import ModbusSettings
from edge.drivers.onvif_camera.settings import OnvifCameraSettings
from edge.drivers.onvif_door.settings import OnvifDoorSettings
from edge.drivers.osdp.settings import OsdpSettings
from edge.drivers.settings import DriverSettings


@dataclass(frozen=True, slots=True)
class DriverSpec:
    """One driver: the model of its settings, and the module whose ``create`` builds it."""

    settings: type[DriverSettings]
    module: str

    def create(self, settings: DriverSettings, context: DriverContext) -> Driver:
        """Build the driver; it opens nothing. Raises :class:`SettingsError`."""
        driver: Driver = importlib.import_module(self.module).create(settings, context)
        return driver


DRIVERS: Mapping[str, DriverSpec] = MappingProxyType(
    {
        "cjt188": DriverSpec(Cjt188Settings, "edge.drivers.cjt188.driver"),
        "dlt645": DriverSpec(Dlt645Settings, "edge.drivers.dlt645.driver"),
        "elevator_modbus": DriverSpec(
            ElevatorModbusSettings, "edge.drivers.elevator_modbus.driver"
        ),
        "modbus": DriverSpec(ModbusSettings, "edge.drivers.modbus.driver"),
        "isapi_barrier": DriverSpec(IsapiBarrierSettings, "edge.drivers.isapi_barrier.driver"),
        "isapi_camera": DriverSpec(IsapiCameraSettings, "edge.drivers.isapi_camera.driver"),
        "isapi_door": DriverSpec(IsapiDoorSettings, "edge.drivers.isapi_door.driver"),
        "isapi_elevator": DriverSpec(IsapiElevatorSettings, "edge.drivers.isapi_elevator.driver"),
        "osdp": DriverSpec(OsdpSettings, "edge.drivers.osdp.driver"),
        "onvif_camera": DriverSpec(OnvifCameraSettings, "edge.drivers.onvif_camera.driver"),
        "onvif_door": DriverSpec(OnvifDoorSettings, "edge.drivers.onvif_door.driver"),
        "camera": DriverSpec(CameraSettings, "edge.drivers.camera.driver"),
        "bacnet": DriverSpec(BacnetSettings, "edge.drivers.bacnet.driver"),
        "json_http": DriverSpec(JsonHttpSettings, "edge.drivers.json_http.driver"),
        "json_mqtt": DriverSpec(JsonMqttSettings, "edge.drivers.json_mqtt.driver"),
    }
)
