"""What can be installed beside meters, lifts, doors and cameras of the first kind.

A plan names its devices, builds its peer with a handle for each, and writes the entries of the
edge's configuration that read it. To add a protocol: one class here, one line in the community.
"""
