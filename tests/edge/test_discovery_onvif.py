"""WS-Discovery: devices name themselves once, and nothing else is believed."""

from __future__ import annotations

from typing import Any

import pytest

from core.contracts.errors import SettingsError
from core.runtime.clock import ScaledClock
from edge.discovery.found import Found
from edge.discovery.onvif import Match, found, matches, probe, scan
from simulators.devices.onvif import DiscoveryResponder, OnvifCamera, OnvifDoors

from .drivers.support import run


async def answers(**more: Any) -> list[Found]:
    return [item async for item in scan(addresses=["127.0.0.1"], **more)]


def test_devices_are_found_once_with_an_entry_to_begin_with() -> None:
    async def scenario() -> None:
        camera = OnvifCamera(ScaledClock(), "yard 1")
        gate = OnvifDoors(ScaledClock(), "gate", ["D1"])
        await camera.start()
        await gate.start()
        responder = DiscoveryResponder([camera, gate])
        responder.faults.repeat = 1.0
        await responder.start()
        listed = await answers(port=responder.port, wait_s=0.6)
        assert responder.probes == 4, "two types, each asked twice"
        assert sorted((item.protocol, item.address) for item in listed) == [
            ("onvif_camera", f"http://127.0.0.1:{camera.port}"),
            ("onvif_door", f"http://127.0.0.1:{gate.port}"),
        ]
        door = next(item for item in listed if item.protocol == "onvif_door")
        assert door.what == "gate; SIM-PACS; profiles A, C"
        assert door.entry == {"driver": "onvif_door", "base_url": door.address}
        responder.faults.repeat, responder.faults.garble = 0.0, 1.0
        await answers(port=responder.port, wait_s=0.4)  # whatever comes, nothing is raised
        await responder.stop()
        assert await answers(port=responder.port, wait_s=0.3) == []
        await camera.stop()
        await gate.stop()

    run(scenario())


def test_only_answers_to_our_probes_count() -> None:
    device = OnvifCamera(ScaledClock(), "yard")
    reply = DiscoveryResponder([device]).match(device, "urn:uuid:1")
    assert len(matches(reply, {"urn:uuid:1"})) == 1
    assert matches(reply, {"urn:uuid:2"}) == []
    for noise in (b"", b"\xff", b"<a/>", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'):
        assert matches(noise, {"urn:uuid:1"}) == []


@pytest.mark.parametrize(
    ("addresses", "base_url", "path"),
    [
        (("http://10.0.0.9/onvif/device_service",), "http://10.0.0.9", None),
        (("http://192.168.1.2:8080/onvif/device_service",), "http://10.0.0.9:8080", None),
        (("http://[fe80::1]/x", "http://10.0.0.9:8000/dev"), "http://10.0.0.9:8000", "/dev"),
        (("https://10.0.0.9:443/onvif/device_service",), "https://10.0.0.9", None),
        (("nonsense", "ftp://10.0.0.9/"), "http://10.0.0.9", None),
        (("http://10.0.0.9:x/",), "http://10.0.0.9", None),
        ((), "http://10.0.0.9", None),
    ],
)
def test_the_address_is_where_it_answered_from(
    addresses: tuple[str, ...], base_url: str, path: str | None
) -> None:
    scopes = ("onvif://www.onvif.org/name/A%20B", "onvif://www.onvif.org/Profile/T", "other:x")
    types = frozenset({"NetworkVideoTransmitter", "Device"})
    one = found(Match("urn:1", types, scopes, addresses), "10.0.0.9")
    assert one.address == base_url
    assert one.entry.get("path") == path
    assert one.what == "A B; profiles T"


def test_an_interface_that_is_none_of_ours_is_refused() -> None:
    for interface in ("192.0.2.55", "nonsense"):
        with pytest.raises(SettingsError, match=interface):
            run(answers(interface=interface, wait_s=0.1))


def test_the_wire_agrees_with_a_library_that_we_did_not_write() -> None:
    actions = pytest.importorskip("wsdiscovery.actions")
    message = pytest.importorskip("wsdiscovery.message")
    ours = message.parseSOAPMessage(probe("urn:uuid:1", "dn", "http://x/y", "Thing"), "1.2.3.4")
    assert ours.getAction() == actions.NS_ACTION_PROBE
    assert ours.getMessageId() == "urn:uuid:1"
    assert [(t.getNamespace(), t.getLocalname()) for t in ours.getTypes()] == [
        ("http://x/y", "Thing")
    ]
    device = OnvifCamera(ScaledClock(), "yard")
    reply = DiscoveryResponder([device]).match(device, "urn:uuid:1")
    theirs = message.parseSOAPMessage(reply, "1.2.3.4")
    (match,) = theirs.getProbeResolveMatches()
    assert match.getXAddrs() == [device.url("device_service")]
    assert "onvif://www.onvif.org/name/yard" in [s.getValue() for s in match.getScopes()]
    assert {t.getLocalname() for t in match.getTypes()} == {"NetworkVideoTransmitter", "Device"}
