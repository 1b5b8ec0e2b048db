"""Health and the state of the system."""
