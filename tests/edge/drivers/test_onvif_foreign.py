"""The simulated ONVIF devices against a client that we did not write.

``onvif-zeep-async`` reads every answer by ONVIF's own WSDLs and schemas, so an answer with a
missing, misplaced or misspelt element fails here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.runtime.clock import ScaledClock
from simulators.devices.onvif import OnvifCamera, OnvifDevice, OnvifDoors
from simulators.devices.onvif import camera as sim

from .support import run

onvif = pytest.importorskip("onvif")
zeep = pytest.importorskip("zeep")


def visit(
    device: OnvifDevice, what: Callable[[Any], Awaitable[None]], password: str = "secret"
) -> None:
    async def scenario() -> None:
        await device.start()
        visitor = onvif.ONVIFCamera(
            "127.0.0.1", device.port, "edge", password, adjust_time=True, no_cache=True
        )
        try:
            await visitor.update_xaddrs()
            await what(visitor)
        finally:
            await visitor.close()
            await device.stop()

    run(scenario(), 60)


def named(name: Any) -> str:
    """Return the local part of a qualified name, however it is given."""
    return str(name).rpartition("}")[2].rpartition(":")[2]


async def service(visitor: Any, name: str) -> Any:
    return await visitor.create_onvif_service(name)


def test_the_device_and_event_services() -> None:
    device = OnvifCamera(ScaledClock(), "yard", sign_in="token")
    device.faults.clock_offset_ms = -3_600_000

    async def what(visitor: Any) -> None:
        management = await visitor.create_devicemgmt_service()
        information = await management.GetDeviceInformation()
        assert information["SerialNumber"] == "yard"
        capabilities = await visitor.get_capabilities()
        assert capabilities["Events"]["WSPullPointSupport"] is True
        events = await visitor.create_events_service()
        properties = await events.GetEventProperties()
        assert properties.FixedTopicSet is True
        assert properties.TopicSet is not None

    visit(device, what)
    assert device.refused == 0


def test_a_pull_point_from_begin_to_end() -> None:
    device = OnvifCamera(ScaledClock(), "yard", sign_in="token")

    async def what(visitor: Any) -> None:
        manager = await visitor.create_pullpoint_manager(dt.timedelta(seconds=60), lambda: None)
        pull = {"MessageLimit": 100, "Timeout": dt.timedelta(seconds=1)}
        first = (await manager.get_service().PullMessages(pull)).NotificationMessage
        assert {m.Message._value_1.PropertyOperation for m in first} == {"Initialized"}
        await manager.set_synchronization_point()
        again = (await manager.get_service().PullMessages(pull)).NotificationMessage
        assert len(again) == len(first)
        device.intrude(active=True)
        device.cross(object_id="71")
        news = (await manager.get_service().PullMessages(pull)).NotificationMessage
        field, line = news
        assert field.Topic._value_1 == sim.FIELD
        message = field.Message._value_1
        assert message.PropertyOperation == "Changed"
        assert isinstance(message.UtcTime, dt.datetime)
        assert [(i.Name, i.Value) for i in message.Source.SimpleItem][2] == ("Rule", "Yard")
        assert [(i.Name, i.Value) for i in message.Data.SimpleItem] == [("IsInside", "true")]
        assert line.Message._value_1.PropertyOperation is None
        assert (await manager.get_service().PullMessages(pull)).NotificationMessage == []
        renewed = await manager._subscription.Renew(visitor.get_next_termination_time(
            dt.timedelta(seconds=90)))  # fmt: skip
        assert (renewed.TerminationTime - renewed.CurrentTime).total_seconds() == 90
        assert device.board.points == 1
        await manager.shutdown()
        assert device.board.points == 0

    visit(device, what)


def test_media_and_analytics() -> None:
    device = OnvifCamera(ScaledClock(), "yard", sign_in="token", picture=lambda: b"\xff\xd8jpeg")

    async def what(visitor: Any) -> None:
        media = await visitor.create_media_service()
        (profile,) = await media.GetProfiles()
        uri = await visitor.get_snapshot_uri(profile.token)
        assert uri.endswith("/onvif/snapshot")
        assert await visitor.get_snapshot(profile.token) == b"\xff\xd8jpeg"
        analytics = await visitor.create_analytics_service()
        # Rules have a port type of their own in the WSDL, so the operation is called by it.
        binding = "{http://www.onvif.org/ver20/analytics/wsdl}RuleEngineBinding"
        address = visitor.xaddrs["http://www.onvif.org/ver20/analytics/wsdl"]
        engine = analytics.zeep_client.create_service(binding, address)
        token = profile.VideoAnalyticsConfiguration.token
        rules = await engine.GetRules(ConfigurationToken=token)
        assert [(rule.Name, named(rule.Type)) for rule in rules] == [
            ("MyMotion", "CellMotionDetector"), ("Yard", "FieldDetector"),
            ("Fence", "LineDetector"), ("MyTamper", "TamperDetector"),
        ]  # fmt: skip
        supported = await engine.GetSupportedRules(ConfigurationToken=token)
        assert [named(item.Name) for item in supported.RuleDescription][:1] == [
            "CellMotionDetector"
        ]

    visit(device, what)


def test_doors_and_access_points(monkeypatch: pytest.MonkeyPatch) -> None:
    from onvif.definition import SERVICES

    # The package ships the WSDLs of access control but does not list them.
    for name, space, binding in (
        ("doorcontrol", "doorcontrol", "DoorControlBinding"),
        ("accesscontrol", "accesscontrol", "PACSBinding"),
    ):
        definition = {
            "ns": f"http://www.onvif.org/ver10/{space}/wsdl",
            "wsdl": f"{name}.wsdl",
            "binding": binding,
        }
        monkeypatch.setitem(SERVICES, name, definition)
    device = OnvifDoors(ScaledClock(), "gate", ["D1", "D2"], sign_in="token")

    async def what(visitor: Any) -> None:
        doors = await service(visitor, "doorcontrol")
        listed = await doors.GetDoorInfoList()
        assert [door.token for door in listed.DoorInfo] == ["D1", "D2"]
        assert listed.DoorInfo[0].Capabilities.Access is True
        device.force("D2")
        state = await doors.GetDoorState({"Token": "D2"})
        assert (state.DoorPhysicalState, state.Alarm) == ("Open", "DoorForcedOpen")
        await doors.AccessDoor({"Token": "D1"})
        assert device.unlocked == ["D1"]
        access = await service(visitor, "accesscontrol")
        points = await access.GetAccessPointInfoList()
        assert [(p.token, p.Entity) for p in points.AccessPointInfo] == [
            ("AP-D1", "D1"), ("AP-D2", "D2")
        ]  # fmt: skip
        with pytest.raises(zeep.exceptions.Fault, match="no such door"):
            await doors.AccessDoor({"Token": "D9"})

    visit(device, what)


def test_a_wrong_password_is_refused() -> None:
    device = OnvifCamera(ScaledClock(), "yard", sign_in="token")

    async def what(_: Any) -> None:
        raise AssertionError("it was let in")

    with pytest.raises(zeep.exceptions.Fault, match="not Authorized"):
        visit(device, what, password="wrong")
    assert device.refused
