"""ONVIF messages: tokens, faults, notifications, topic sets, and everything that is none."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.errors import DeviceError, DeviceRefusedError
from edge.driver import LinkError
from edge.onvif import names
from edge.onvif.client import Account, OnvifClient
from edge.onvif.notification import (
    MOST_MESSAGES,
    Operation,
    notifications,
    plain_topic,
    topic_set,
)
from edge.onvif.observation import corrected
from edge.onvif.pullpoint import duration
from edge.onvif.soap import (
    SignInError,
    Token,
    addressing,
    envelope,
    parse,
    password_digest,
    utc_ms,
    utc_text,
)

NOW = 1_764_000_000_000


def body(inner: str) -> bytes:
    return envelope(inner)


def message(topic: str, data: str = "", *, source: str = "", attributes: str = "") -> str:
    return (
        f'<n:NotificationMessage xmlns:n="{names.NOTIFICATION}"><n:Topic>{topic}</n:Topic>'
        f'<n:Message><t:Message xmlns:t="{names.SCHEMA}" {attributes}>'
        f"<t:Source>{source}</t:Source><t:Data>{data}</t:Data></t:Message></n:Message>"
        "</n:NotificationMessage>"
    )


def item(name: str, value: str) -> str:
    return f'<t:SimpleItem Name="{name}" Value="{value}"/>'


def pulled(*messages: str) -> bytes:
    return body(f'<e:PullMessagesResponse xmlns:e="{names.EVENTS}">{"".join(messages)}'
                "</e:PullMessagesResponse>")  # fmt: skip


def test_the_digest_of_the_programmers_guide() -> None:
    nonce = base64.b64decode("LKqI6G/AikKCQrN0zqZFlg==")
    digest = password_digest(nonce, "2010-09-16T07:50:45Z", "userpassword")
    assert digest == "tuOSpGlFlIXsozq4HFNeeGeFLEI="


def test_a_token_is_new_each_time_and_holds_no_password() -> None:
    token = Token("ed<ge", "secret", NOW)
    first, second = token.header(), token.header()
    assert first != second
    assert "secret" not in first
    assert "ed&lt;ge" in first
    assert re.search(r"<wsu:Created>2025-11-24T16:00:00\.000Z</wsu:Created>", first)


def test_addresses_of_devices_are_escaped() -> None:
    text = envelope("<a/>", [addressing("http://x/?a=1&b=<2>", "urn:a")]).decode()
    assert "a=1&amp;b=&lt;2&gt;" in text


FAULT = (
    "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>{}</s:Value>{}</s:Subcode>"
    '</s:Code><s:Reason><s:Text xml:lang="en">words</s:Text></s:Reason></s:Fault>'
)


@pytest.mark.parametrize("code", ["ter:NotAuthorized", "wsse:FailedAuthentication"])
def test_a_refused_sign_in_is_told_apart(code: str) -> None:
    with pytest.raises(SignInError) as refused:
        parse(body(FAULT.format(code, "")))
    assert refused.value.cause == "credentials"


def test_other_faults_keep_their_innermost_code() -> None:
    inner = "<s:Subcode><s:Value>ter:NoProfile</s:Value></s:Subcode>"
    with pytest.raises(DeviceRefusedError, match="words") as refused:
        parse(body(FAULT.format("ter:InvalidArgVal", inner)))
    assert refused.value.code == "NoProfile"


def test_faults_of_soap_1_1_are_understood() -> None:
    old = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><e:Fault>'
        "<faultcode>e:Client</faultcode><faultstring>no</faultstring></e:Fault></e:Body>"
        "</e:Envelope>"
    )
    with pytest.raises(DeviceRefusedError, match="Client no"):
        parse(old.encode())


BOMB = (
    '<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    f'<s:Envelope xmlns:s="{names.SOAP}"><s:Body><x>&b;</x></s:Body></s:Envelope>'
).encode()
OUTSIDE = (
    '<!DOCTYPE b [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    f'<s:Envelope xmlns:s="{names.SOAP}"><s:Body><x>&f;</x></s:Body></s:Envelope>'
).encode()


@pytest.mark.parametrize(
    "answer",
    [b"", b"<", b"<a/>", b"\xff\xfe", BOMB, OUTSIDE, body(""), envelope("<a>")[:-4], b"{}",
     b'<?xml version="1.0" encoding="klingon"?><a/>'],
)  # fmt: skip
def test_what_is_no_message_is_refused(answer: bytes) -> None:
    with pytest.raises(LinkError) as refused:
        parse(answer)
    assert refused.value.cause == "protocol"


def test_depth_does_no_harm() -> None:
    deep = 100_000
    answer = parse(body("<a>" * deep + "</a>" * deep))
    assert topic_set(answer) == frozenset()


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(noise: bytes) -> None:
    whole = bytearray(pulled(message("a/b", item("State", "true"))))
    place = len(noise) % len(whole)
    whole[place : place + len(noise) // 8] = noise
    for answer in (noise, bytes(whole)):
        try:
            found, _ = notifications(parse(answer))
        except DeviceError:
            continue
        assert len(found) <= 1


# -- notifications -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "plain"),
    [
        ("tns1:VideoSource/MotionAlarm", "VideoSource/MotionAlarm"),
        (" tns1:Device/Trigger/tnshik:AlarmIn ", "Device/Trigger/AlarmIn"),
        ("tns1:AccessControl/AccessGranted/Credential/.", "AccessControl/AccessGranted/Credential"),
        ("Door//State", "Door/State"),
    ],
)
def test_topics_lose_the_prefixes_that_devices_choose(given_: str, plain: str) -> None:
    assert plain_topic(given_) == plain


def test_a_notification_is_read_whole() -> None:
    text = message(
        "tns1:RuleEngine/FieldDetector/ObjectsInside", item("IsInside", "1"),
        source=item("VideoSourceConfigurationToken", "v") + item("Rule", "Yard"),
        attributes='UtcTime="2026-03-05T10:30:00.250Z" PropertyOperation="Changed"',
    )  # fmt: skip
    (found,), unread = notifications(parse(pulled(text)))
    assert unread == 0
    assert found.topic == "RuleEngine/FieldDetector/ObjectsInside"
    assert found.source == {"VideoSourceConfigurationToken": "v", "Rule": "Yard"}
    assert found.flag("IsInside") is True
    assert found.operation is Operation.CHANGED
    assert found.at == 1_772_706_600_250


def test_a_number_is_a_state_only_where_the_item_is_one() -> None:
    (found,), _ = notifications(parse(pulled(message("a:B", item("ObjectId", "1")))))
    assert found.flag("State") is None
    assert found.flag("ObjectId") is True
    (found,), _ = notifications(parse(pulled(message("a:B", item("Odd", "False")))))
    assert found.flag("State") is False


def test_odd_notifications_are_read_or_counted() -> None:
    inner = item("State", "false")
    bare = (
        f'<n:NotificationMessage xmlns:n="{names.NOTIFICATION}"><n:Topic>a:B</n:Topic>'
        f'<n:Message UtcTime="nonsense" xmlns:t="{names.SCHEMA}"><t:Data>{inner}</t:Data>'
        "</n:Message></n:NotificationMessage>"
    )
    silent = message("a").replace("<n:Message>", "<n:Other>").replace("</n:Message>", "</n:Other>")
    odd = message("a:C", inner, attributes='PropertyOperation="Whatever"')
    found, unread = notifications(parse(pulled(bare, silent, odd)))
    assert [(n.topic, n.at, n.operation) for n in found] == [
        ("B", None, Operation.EVENT), ("C", None, Operation.EVENT)
    ]  # fmt: skip
    assert found[0].flag() is False
    assert unread == 1


def test_too_many_notifications_are_counted_not_kept() -> None:
    found, unread = notifications(parse(pulled(*[message("a:B")] * (MOST_MESSAGES + 3))))
    assert len(found) == MOST_MESSAGES
    assert unread == 3


@given(
    st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=40),
    st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=40),
)
def test_any_token_survives_the_way(name: str, value: str) -> None:
    from html import escape

    text = message("a:B", item(escape(name), escape(value)))
    (found,), _ = notifications(parse(pulled(text)))
    assert found.data == {name: value}


def test_a_topic_set_is_flattened() -> None:
    tree = (
        f'<e:GetEventPropertiesResponse xmlns:e="{names.EVENTS}"><w:TopicSet'
        f' xmlns:w="{names.TOPICS}" xmlns:tns1="http://www.onvif.org/ver10/topics">'
        "<tns1:RuleEngine><CellMotionDetector><Motion w:topic='true'><MessageDescription/>"
        "</Motion></CellMotionDetector></tns1:RuleEngine>"
        "<tns1:VideoSource w:topic='1'><tns1:MotionAlarm><t:MessageDescription"
        f" xmlns:t='{names.SCHEMA}'/></tns1:MotionAlarm></tns1:VideoSource>"
        "</w:TopicSet></e:GetEventPropertiesResponse>"
    )
    assert topic_set(parse(body(tree))) == {
        "RuleEngine/CellMotionDetector/Motion", "VideoSource", "VideoSource/MotionAlarm"
    }  # fmt: skip


# -- times and addresses -------------------------------------------------------------------------


@given(st.integers(0, 4_102_444_799_999))
def test_times_survive_the_way(at: int) -> None:
    assert utc_ms(utc_text(at)) == at


@pytest.mark.parametrize("text", ["", "0000-00-00T00:00:00Z", "2200-01-01T00:00:00Z", "now"])
def test_times_that_are_none(text: str) -> None:
    assert utc_ms(text) is None


def test_times_are_corrected_by_the_clocks_offset_or_refused() -> None:
    hour = 3_600_000
    assert corrected(NOW + hour, hour, NOW) == NOW
    assert corrected(NOW + hour, 0, NOW) is None, "an hour ahead of a clock that is right"
    assert corrected(NOW - hour, 0, NOW) == NOW - hour
    assert corrected(0, 0, NOW) is None
    assert corrected(None, 0, NOW) is None


def test_durations() -> None:
    assert duration(20) == "PT20S"
    assert duration(0.5) == "PT0.500S"


@pytest.mark.parametrize(
    ("base", "told", "reached"),
    [
        ("http://10.0.0.5", "http://10.0.0.5/onvif/ev", "http://10.0.0.5/onvif/ev"),
        ("http://10.0.0.5", "http://10.0.0.5:8000/s?Idx=3", "http://10.0.0.5:8000/s?Idx=3"),
        ("http://10.0.0.5:81", "http://192.168.1.9/s?a=1", "http://10.0.0.5:81/s?a=1"),
        ("http://10.0.0.5:81", "http://192.168.1.9:8000/s", "http://10.0.0.5:81/s"),
        ("https://cam", "http://cam:80/s", "https://cam/s"),
        ("http://10.0.0.5", "http:///onvif/ev?session=392", "http://10.0.0.5/onvif/ev?session=392"),
        ("http://10.0.0.5", "/onvif/ev", "http://10.0.0.5/onvif/ev"),
        ("http://10.0.0.5", "http://user:pw@10.0.0.5:8000/s", "http://10.0.0.5:8000/s"),
        ("http://10.0.0.5", "urn:uuid:5f5a69c2", None),
        ("http://10.0.0.5", "file:///etc/passwd", None),
        ("http://10.0.0.5", "http://10.0.0.5:x/s", None),
        ("http://10.0.0.5", "", None),
    ],
)
def test_requests_go_to_the_configured_host_only(base: str, told: str, reached: str | None) -> None:
    account = Account(base, "/onvif/device_service", "a", "b", "auto", 1)
    assert OnvifClient(account, lambda: NOW, verify=False).reach(told) == reached
