"""Speech to keys: which sound, in which manner, onto the head, by the worker."""
