"""`parley evaluate`: speech → motion on clips whose true motion is known, and films against their clips."""
