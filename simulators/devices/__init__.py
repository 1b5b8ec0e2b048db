"""Device peers: servers that answer as meters, lifts, door controllers and cameras do."""
