"""Edges, dead letters and declared losses."""
