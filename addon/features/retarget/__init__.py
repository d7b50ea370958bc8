"""Any rig: map the 52 shapes onto somebody's own character, review, apply a performance or a phone's recording."""
