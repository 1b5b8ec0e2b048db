"""OSDP readers (IEC 60839-11-5) on RS-485, with the edge as their panel."""
