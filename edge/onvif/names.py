"""The XML namespaces and WS-Addressing actions that are spoken here."""

from __future__ import annotations

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://www.w3.org/2005/08/addressing"
SECURITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
SECURITY_UTILITY = (
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
)
PASSWORD_DIGEST = (
    "http://docs.oasis-open.org/wss/2004/01/"  # noqa: S105 (the name of a digest)
    "oasis-200401-wss-username-token-profile-1.0#PasswordDigest"
)
BASE64 = (
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"
)
NOTIFICATION = "http://docs.oasis-open.org/wsn/b-2"
TOPICS = "http://docs.oasis-open.org/wsn/t-1"
SCHEMA = "http://www.onvif.org/ver10/schema"

DEVICE = "http://www.onvif.org/ver10/device/wsdl"
EVENTS = "http://www.onvif.org/ver10/events/wsdl"
MEDIA = "http://www.onvif.org/ver10/media/wsdl"
ANALYTICS = "http://www.onvif.org/ver20/analytics/wsdl"
DOORS = "http://www.onvif.org/ver10/doorcontrol/wsdl"
ACCESS = "http://www.onvif.org/ver10/accesscontrol/wsdl"

#: WS-Addressing actions of the event service; the others follow from namespace and operation.
CREATE_PULL_POINT = f"{EVENTS}/EventPortType/CreatePullPointSubscriptionRequest"
EVENT_PROPERTIES = f"{EVENTS}/EventPortType/GetEventPropertiesRequest"
PULL_MESSAGES = f"{EVENTS}/PullPointSubscription/PullMessagesRequest"
SYNCHRONISE = f"{EVENTS}/PullPointSubscription/SetSynchronizationPointRequest"
RENEW = "http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager/RenewRequest"
UNSUBSCRIBE = "http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager/UnsubscribeRequest"
