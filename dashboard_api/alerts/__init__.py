"""Alerts, and what people do about them."""
