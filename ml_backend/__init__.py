"""Parley's backend: speech and a clip in, an animated face and a film out. Never imports Blender."""

__version__ = "0.1.0"
