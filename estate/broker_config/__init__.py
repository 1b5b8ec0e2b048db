"""``estate broker-config``: mosquitto's configuration, certificates and access list (ADR 0017)."""
