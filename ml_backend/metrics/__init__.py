"""What the results are judged by: figures of lips, head, eyes and pictures against the real ones, and their tables."""
