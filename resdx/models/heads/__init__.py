"""Heads: from pooled maps (B, E) to logits (B, K), trained or fitted, and the boxes of a detector.

What a recipe names is in `specs`, which needs no PyTorch.
"""
