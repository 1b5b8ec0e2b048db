"""A whole street as batched traffic on the wire format: load, not device protocols."""
