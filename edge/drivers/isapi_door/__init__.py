"""Door controllers with a Hikvision-style ISAPI alert stream."""
