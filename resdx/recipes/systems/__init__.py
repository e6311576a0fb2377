"""Published systems, one file each: `RECIPE`, and `VARIANTS` where a paper compares.

Deleting a file deletes the system.
"""
