"""Water, gas and heat meters after CJ/T 188-2004 and -2018, over TCP or a serial port."""
