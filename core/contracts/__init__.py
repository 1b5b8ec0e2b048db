"""What the parts say to each other: events, topology, colours, alert states, topics, batches.

Everything here is pure: no input or output, no clock, no thread.
"""
