"""ONVIF devices over HTTP/SOAP: cameras and door controllers, and their WS-Discovery answers."""

from simulators.devices.onvif.camera import OnvifCamera, Rule
from simulators.devices.onvif.discovery import DiscoveryResponder
from simulators.devices.onvif.doors import AccessPoint, OnvifDoors
from simulators.devices.onvif.peer import OnvifDevice, OnvifFaults

__all__ = [
    "AccessPoint",
    "DiscoveryResponder",
    "OnvifCamera",
    "OnvifDevice",
    "OnvifDoors",
    "OnvifFaults",
    "Rule",
]
