"""Lift access (智能梯控): lift controllers with a Hikvision-style ISAPI alert stream."""
