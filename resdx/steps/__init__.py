"""What turns a path into an image, and an image into the network's input.

`random` works on tensors and so imports torch, which the workers that read files can do without: it is imported by `recipe`.
"""

from . import ecg, image, lung, offline, read, scan, voice

__all__ = ["ecg", "image", "lung", "offline", "read", "scan", "voice"]
