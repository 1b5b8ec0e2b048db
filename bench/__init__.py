"""Measures the way from the broker to the stores, beside a bare floor (``make bench``)."""
