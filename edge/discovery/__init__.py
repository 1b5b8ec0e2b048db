"""Looking for devices: broadcasts and address scans, only within the range that is asked for."""
