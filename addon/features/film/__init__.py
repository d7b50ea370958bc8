"""A film of somebody speaking, rendered by the worker over their clip or photo."""
