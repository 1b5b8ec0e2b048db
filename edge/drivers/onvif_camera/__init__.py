"""Cameras whose own analytics tell by ONVIF what they see (profiles S, T and M)."""
