"""Frames in (`clips`, `sources`), pictures, films and detections out (`pictures`, `film`, `records`)."""
