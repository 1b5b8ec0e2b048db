"""Byte channels for half-duplex buses: one question at a time, and a fair turn for everybody."""
