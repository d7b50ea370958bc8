"""The built-in Parley head: statistics of tracked faces, mesh, expressions and texture, each made by a
command."""
