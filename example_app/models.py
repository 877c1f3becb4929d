"""Two small networks that classify digits; both take (batch, in_channels, height, width)."""

import torch
from torch import Tensor, nn

N_CLASSES = 10
N_GROUPS = 4


class VisionTransformer(nn.Module):
    """A transformer on the patches of an image.

    Args:
        in_channels: Channels of the features.
        image_size: The side of the image, in pixels.
        patch_size: The side of a patch, in pixels; divides `image_size`.
        embed_dim: The length of a patch's embedding.
        num_heads: Heads of the attention; divides `embed_dim`.
        activation: "relu" or "gelu".
        depth: How many layers.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        patch_size: int,
        embed_dim: int,
        num_heads: int,
        activation: str,
        depth: int,
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise ValueError(f"patches of {patch_size} pixels do not tile an image of {image_size}")
        self.embed = nn.Conv2d(in_channels, embed_dim, patch_size, stride=patch_size)
        self.position = nn.Parameter(0.02 * torch.randn((image_size // patch_size) ** 2, embed_dim))
        layer = nn.TransformerEncoderLayer(
            embed_dim,
            num_heads,
            dim_feedforward=2 * embed_dim,
            dropout=0.0,
            activation=activation,
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(
            layer, depth, nn.LayerNorm(embed_dim), enable_nested_tensor=False
        )
        self.head = nn.Linear(embed_dim, N_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images).flatten(2).transpose(1, 2) + self.position
        return self.head(self.encoder(tokens).mean(dim=1))


class ResNet(nn.Module):
    """A residual network of two stages; the second has half of the resolution and twice the width.

    Args:
        in_channels: Channels of the features.
        width: Channels of the first stage.
        depth: Residual blocks of a stage.
    """

    def __init__(self, in_channels: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1)
        self.stages = nn.Sequential(
            *(ResidualBlock(width, width) for _ in range(depth)),
            ResidualBlock(width, 2 * width, stride=2),
            *(ResidualBlock(2 * width, 2 * width) for _ in range(depth - 1)),
        )
        self.head = nn.Linear(2 * width, N_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(images)).mean(dim=(2, 3)))


class ResidualBlock(nn.Module):
    """Two convolutions, and the way past them."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.GroupNorm(N_GROUPS, in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.GroupNorm(N_GROUPS, out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        )
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, stride=stride)

    def forward(self, images: Tensor) -> Tensor:
        return self.shortcut(images) + self.residual(images)
