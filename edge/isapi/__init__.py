"""What all ISAPI drivers share: HTTP with Digest, the alert stream, times, serial numbers."""
