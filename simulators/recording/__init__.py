"""Any broker's traffic into a file, and back at any speed."""
