"""BACnet/IP: Lift objects, fire contacts and measuring points of one device."""
