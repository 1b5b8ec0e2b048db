"""Lifts behind a Modbus TCP gateway, with the register map in YAML."""
