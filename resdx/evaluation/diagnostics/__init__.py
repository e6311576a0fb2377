"""Evidence beside the figures: controls of shortcuts, the leakage effect, the learning curve, label issues, the embedding.

Each reads a finished run and writes one file that the report reads.
"""
