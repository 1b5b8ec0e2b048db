"""Detectors on frames: they say that something is there, not what it is.

Each is a small class fed with grey pictures and times (ms of the run's clock); none reads a
clock, a file or a socket.
"""
