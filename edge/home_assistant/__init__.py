"""An optional bridge to Home Assistant: what the edge sees, on a broker of the house."""
