"""Smart meters after DL/T 645-2007, over TCP (a serial gateway's or a meter's own socket)."""
