"""What every process needs: clock, settings, lifecycle, logs, metrics and the MQTT link."""
