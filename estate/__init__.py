"""The ``estate`` command and the all-in-one node: the only place that builds everything."""
