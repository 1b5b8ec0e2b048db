"""Rules: a language for them, and an engine that is a pure fold over the collector's log.

Nothing here opens a file, reads a clock or draws a random number: the same log gives the same
outputs, whether it is folded live, after a restart, in a backtest or in a test.
"""
