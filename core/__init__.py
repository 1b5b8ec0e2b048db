"""The foundation: contracts (pure), runtime (clock, MQTT link, settings) and storage."""
