"""What the edge concludes from its observations, whatever protocol they came by."""
