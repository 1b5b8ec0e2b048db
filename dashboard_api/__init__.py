"""The HTTP API, the live push and the built console, in feature folders.

Each feature has ``endpoints`` (the routes), ``schemas`` (what goes over the wire) and, where
there is something to decide, ``service``. ``app`` composes them; nothing here imports the edge,
the collector, the worker or the simulators: they meet in the records and the stores.
"""
