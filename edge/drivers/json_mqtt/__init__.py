"""Vendor gateways that publish JSON on a broker, read by a mapping file."""
