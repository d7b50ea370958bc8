"""A character in the scene: add a head, load a performance onto it."""
