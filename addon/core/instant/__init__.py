"""The instant engine: speech to motion in NumPy alone, with the backend's own weights. Tests hold both equal."""
