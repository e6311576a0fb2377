"""Readers, one file a format.

Each takes a path, with `#index` where a file holds many, and gives an array. What belongs to no format (which kind a file is,
errors in one sentence) is in `paths`.
"""
