"""Networks: specs that recipes name, and `net.build`, which makes them."""

from .specs import Linear, Mlp, Net, Pretrained, ResNet

__all__ = ["Linear", "Mlp", "Net", "Pretrained", "ResNet"]
