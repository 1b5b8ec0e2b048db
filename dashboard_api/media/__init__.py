"""Snapshots, each view of which is audited."""
