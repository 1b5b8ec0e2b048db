"""Time series of one field."""
