"""Vehicle barriers: cameras that read plates, with a Hikvision-style ISAPI alert stream."""
