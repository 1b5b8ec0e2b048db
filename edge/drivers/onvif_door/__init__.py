"""Door controllers that speak ONVIF (profiles A and C)."""
