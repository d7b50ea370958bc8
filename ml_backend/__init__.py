"""Parley's backend: speech and a clip in, an animated face and a film out. Never imports Blender."""

import os

# Threads that wait for one another must sleep, not spin: on a busy machine spinning makes torch many times slower. Read
# once, when torch's OpenMP starts, so it has to be said before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
