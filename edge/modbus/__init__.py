"""Modbus: shared gateways, register maps as data, and what drivers make of them."""
