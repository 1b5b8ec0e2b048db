"""Commands to devices and edges, and what became of them."""
