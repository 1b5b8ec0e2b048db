"""The drivers: a folder for each protocol; ``edge.registry`` lists them."""
