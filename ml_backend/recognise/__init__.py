"""Training of the embedded identity encoder (`ml_backend.refine.encoder`) and the test of how well it verifies."""
