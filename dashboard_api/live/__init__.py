"""The live push: server-sent events by the sequence of the records."""
