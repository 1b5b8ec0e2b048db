"""One believable event of every kind, for the documents and the tests."""

from __future__ import annotations

from typing import Any

_EPOCH = "0d3f7a52-1f1e-4a57-9d55-2a6d8f2f9c11"
_DOOR: dict[str, Any] = {"reader": "in", "serial": 48213, "raw_code": "5/75"}
_CAMERA: dict[str, Any] = {
    "active": True,
    "zone": "fire-lane",
    "score": 0.41,
    "snapshot": "snap-7f3a",
}

#: kind → (device, data)
_DATA: dict[str, tuple[str, dict[str, Any]]] = {
    "access.granted": (
        "gate-north",
        {"person": "p-9f2c41d0", "credential": "face", "direction": "in", **_DOOR},
    ),
    "access.denied": ("gate-north", {"credential": "card", "reason": "expired", "raw_code": "5/8"}),
    "access.forced": ("b1-lobby", {"raw_code": "5/27", "serial": 48214}),
    "access.held_open": ("b1-lobby", {"open_s": 45.0, "raw_code": "5/28"}),
    "access.duress": ("b1-lobby", {"credential": "pin", "raw_code": "1/1034"}),
    "access.tailgate": ("gate-north", {"persons": 2, "direction": "in"}),
    "access.blacklisted": ("gate-north", {"person": "p-1b00aa77", "raw_code": "5/113"}),
    "access.exit_button": ("b1-lobby", {"raw_code": "5/23"}),
    "access.fire_release": ("b1-lobby", {"active": True, "raw_code": "5/52"}),
    "access.door": ("b1-lobby", {"open": True, "raw_code": "5/25"}),
    "vehicle.passed": (
        "barrier-1",
        {"vehicle": "v-55c0e1", "direction": "in", "vehicle_class": "car", "serial": 901},
    ),
    "vehicle.denied": ("barrier-1", {"direction": "in", "reason": "unknown"}),
    "elevator.status": (
        "b1-lift-1",
        {
            "service_mode": "normal", "moving": True, "direction": "up", "in_door_zone": False,
            "floor": 7, "door_closed": True, "occupied": True, "load_kg": 150.0, "trips": 120334,
        },
    ),
    "elevator.fault": (
        "b1-lift-1",
        {"fault": "stopped_outside_zone", "active": True, "raw_code": "04", "floor": 7},
    ),
    "elevator.access": (
        "b1-lift-1",
        {"person": "p-9f2c41d0", "granted_floors": [7], "refused_floors": [12], "serial": 77},
    ),
    "elevator.alarm_button": ("b1-lift-1", {"active": True}),
    "meter.reading": (
        "b1-0701-meter",
        {
            "medium": "electricity", "energy_kwh": 10254.73, "voltage_l1_v": 229.6,
            "current_l1_a": 4.31, "power_w": 962.0, "power_factor": 0.97, "relay_closed": True,
        },
    ),
    "meter.event": (
        "b1-0701-meter",
        {"medium": "electricity", "event": "overload", "active": True},
    ),
    "camera.motion": ("cam-gate", {"active": True, "score": 0.12}),
    "camera.intrusion": ("cam-gate", {**_CAMERA, "zone": "plant-room"}),
    "camera.line_crossed": ("cam-gate", {"active": True, "zone": "wall", "direction": "in"}),
    "camera.zone_occupied": ("cam-gate", {**_CAMERA, "dwell_s": 130.0}),
    "camera.left_object": ("cam-gate", {**_CAMERA, "zone": "lobby"}),
    "camera.count": ("cam-gate", {"count": 14, "zone": "lobby", "target": "person"}),
    "camera.object": ("cam-lift-1", {**_CAMERA, "zone": "car", "target": "e_bike", "count": 1}),
    "camera.unarmed": (
        "cam-gate", {"active": True, "reason": "not_armed", "events": "fielddetection"},
    ),
    "camera.tamper": ("cam-gate", {"active": True, "cause": "covered", "snapshot": "snap-7f3b"}),
    "camera.video_loss": ("cam-gate", {"active": True}),
    "camera.frozen": ("cam-gate", {"active": True}),
    "fire.alarm": ("panel-1", {"active": True, "loop": "2", "point": "17"}),
    "fire.fault": ("panel-1", {"active": True, "loop": "2"}),
    "sensor.reading": ("tank-1", {"quantity": "water_level", "value": 1.84, "unit": "m"}),
    "device.health": (
        "b1-0701-meter",
        {
            "online": False, "cause": "gateway", "root": "192.168.10.20:8001",
            "error": "no answer in 2 s", "error_rate": 1.0,
        },
    ),
    "device.tamper": ("b1-lobby", {"active": True, "part": "reader", "reader": "in"}),
    "device.fault": (
        "cam-gate", {"fault": "storage_error", "active": True, "raw_code": "diskerror"},
    ),
    "device.snapshot": (
        "b1-lift-1",
        {
            "states": [
                {
                    "kind": "elevator.fault",
                    "since": 1_795_247_940_000,
                    "data": {"fault": "entrapment", "active": True, "raw_code": "11", "floor": 7},
                }
            ]
        },
    ),
    "edge.online": ("jinxiu-b1", {"epoch": _EPOCH, "backlog": 12, "through": {"event": 881}}),
    "edge.offline": ("jinxiu-b1", {"epoch": _EPOCH, "clean": False}),
    "edge.dropped": (
        "jinxiu-b1",
        {"lane": "media", "first_seq": 41, "last_seq": 52, "events": 12, "reason": "budget"},
    ),
    "edge.hole": ("jinxiu-b1", {"epoch": _EPOCH, "lane": "media", "first_seq": 41, "last_seq": 52}),
    "edge.epoch_abandoned": ("jinxiu-b1", {"epoch": _EPOCH, "successor": "7b1c0e9a-2d7e-4f0b"}),
    "edge.identity_clash": ("jinxiu-b1", {"epoch": _EPOCH, "lane": "event", "seq": 882}),
    "edge.gateway": (
        "jinxiu-b1",
        {
            "gateway": "192.168.10.20:8001", "online": False, "devices": 20, "cause": "gateway",
            "error": "connection refused",
        },
    ),
    "edge.command": (
        "jinxiu-b1",
        {
            "command": "0f6f3f0a", "action": "unlock", "target": "b1-lobby", "outcome": "refused",
            "by": "duty-1", "reason": "unlocking is not allowed by the site's configuration",
        },
    ),
    "edge.rule": (
        "jinxiu-b1",
        {
            "rule": "siren-on-duress", "key": "b1-lobby", "active": True, "colour": "red",
            "target": "b1-lobby", "outputs": ["siren-1"],
        },
    ),
    "edge.configuration": (
        "jinxiu-b1",
        {"outcome": "applied", "digest": "9f2c41d00b6f6c1e", "drivers": 9, "devices": 61},
    ),
    "edge.clock": ("jinxiu-b1", {"skew_s": 7.2}),
}  # fmt: skip

#: kind → a whole event, as plain values.
EVENTS: dict[str, dict[str, Any]] = {
    kind: {
        "at": 1_795_248_000_000,
        "seen": 1_795_248_000_120,
        "device": device,
        "kind": kind,
        "data": data,
    }
    for kind, (device, data) in _DATA.items()
}

BATCH: dict[str, Any] = {
    "edge": "jinxiu-b1",
    "epoch": _EPOCH,
    "lane": "event",
    "seq": 882,
    "oldest": 880,
    "sealed_at": 1_795_248_000_200,
    "events": [EVENTS["access.granted"], EVENTS["elevator.fault"]],
}
RECEIPT: dict[str, Any] = {
    "edge": "jinxiu-b1",
    "epoch": _EPOCH,
    "lanes": {"event": 882, "state": 12_020, "reading": 4_410},
}
SHARED_RECEIPT: dict[str, Any] = RECEIPT | {
    "term": 3,
    "stored": {"event": 880, "state": 11_960, "reading": 4_398},
}
EDGE_STATUS: dict[str, Any] = {
    "online": True,
    "edge": "jinxiu-b1",
    "epoch": _EPOCH,
    "clock": 1_795_248_000_000,
    "lanes": {"event": {"oldest": 883, "last": 882}, "reading": {"oldest": 4_300, "last": 4_410}},
    "version": "0.1.0",
}
COLLECTOR_STATUS: dict[str, Any] = {
    "online": True,
    "instance": "1c0a9b6de0d24c5b9a5c1f5f0f2c7a11",
    "clock": 1_795_248_000_000,
}
COMMAND: dict[str, Any] = {
    "id": "0f6f3f0a-3c52-4d55-9f31-9a1d6b0c2e77",
    "action": "relay_output",
    "device": "siren-1",
    "params": {"on": True, "for_s": 30},
    "issued_at": 1_795_248_000_000,
    "expires_at": 1_795_248_015_000,
    "by": "duty-1",
    "reason": "evacuation of building 1",
}
REPLY: dict[str, Any] = {
    "id": "0f6f3f0a-3c52-4d55-9f31-9a1d6b0c2e77",
    "edge": "jinxiu-b1",
    "outcome": "done",
    "at": 1_795_248_000_180,
}
MEDIA_HEADER: dict[str, Any] = {
    "edge": "jinxiu-b1",
    "epoch": _EPOCH,
    "seq": "53",
    "oldest": "53",
    "sealed_at": "1795248000300",
    "media": "snap-7f3a",
    "device": "cam-gate",
    "at": "1795248000000",
}
PLAIN_EVENT: dict[str, Any] = {
    "kind": "fire.alarm",
    "at": "2026-11-21T16:00:00+08:00",
    "data": {"active": True, "loop": "2", "point": "17"},
}
ALERT: dict[str, Any] = {
    "id": "0b6f6c1e-6f0e-5c8a-9a53-0d6f8d0f7a11",
    "rule": "elevator.entrapment",
    "key": "b1-lift-1",
    "site": "jinxiu",
    "node": "jinxiu-b1",
    "device": "b1-lift-1",
    "colour": "red",
    "state": "unacknowledged",
    "began_at": 1_795_247_940_000,
    "raised_at": 1_795_248_000_000,
    "noticed_at": 1_795_248_000_450,
    "worsened_at": None,
    "cleared_at": None,
    "late": False,
    "revision": 1,
    "attention": 1,
    "title": {"zh": "电梯困人", "en": "People trapped in a lift"},
    "advice": {
        "zh": "立即与轿厢通话并通知维保。",
        "en": "Speak to the car and call the maintainer.",
    },
    "reason": {"fault": "entrapment", "floor": 7},
    "acknowledged_at": None,
    "acknowledged_by": None,
    "acknowledged_revision": 0,
    "path": [{"id": "jinxiu", "name": {"zh": "金绣家园", "en": "Jinxiu Garden"}, "level": "site"}],
}
COLOURS: dict[str, str] = {"jinxiu": "red", "jinxiu-b1": "red", "jinxiu-b2": "green"}
