"""Vendor gateways that give JSON over HTTP, read by a mapping file."""
