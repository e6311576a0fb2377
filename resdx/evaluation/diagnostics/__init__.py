"""Evidence beside the figures: shortcut controls, leakage effect, learning curve, label issues.

And a map of the embedding.

Each reads a finished run and writes one file that the report reads.
"""
