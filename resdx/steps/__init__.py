"""What turns a path into an image and an image into the network's input; importing it makes every step known to runs."""

from . import image, random, read

__all__ = ["image", "random", "read"]
