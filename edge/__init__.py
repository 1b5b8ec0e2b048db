"""The edge agent: drivers, outbox and uplink."""
