"""The past of the colours."""
