"""Tests of the whole system; `tests.servers` starts the real servers that they use."""
