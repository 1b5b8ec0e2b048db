"""Mapping files: how a vendor's JSON becomes our observations."""
