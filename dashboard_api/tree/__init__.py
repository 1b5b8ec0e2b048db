"""The tree of the estate with its colours."""
