"""Cameras: MJPEG over HTTP, RTSP or a file, judged on the edge."""
