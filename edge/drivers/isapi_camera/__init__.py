"""Events that cameras raise themselves, by a Hikvision-style ISAPI alert stream."""
