"""Devices, their presence and their events."""
