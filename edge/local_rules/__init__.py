"""Rules at the edge, for what cannot wait: the same engine on the same files as at the centre."""
