"""The conservation law of a period."""
