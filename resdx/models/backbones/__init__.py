"""Backbones, one file a family: images (B, 3, H, W) in, maps (B, C, h, w) out.

Each has named stages that can be frozen.

A new one needs a spec in `models.specs`, a `build_backbone` here and a line in `models.network`.
"""
