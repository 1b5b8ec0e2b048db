"""The worker: whatever runs by the clock."""
