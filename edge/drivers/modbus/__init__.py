"""Meters, contacts, relays and sensors over Modbus, by register maps in YAML."""
