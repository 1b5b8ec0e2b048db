"""ONVIF: SOAP over HTTP, pull-point events, and what door controllers and cameras share of it."""
