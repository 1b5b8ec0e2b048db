"""Unknown devices and edges, and their adoption."""
