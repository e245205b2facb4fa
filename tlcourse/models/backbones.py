"""Small networks that train in seconds on one core: a ResNet and a perceptron."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.arguments import whole


class SmallResNet(nn.Module):
    """Residual network for small pictures (He et al., 2016), about 8 layers deep.

    ``stem`` halves the picture, ``stage1`` keeps its size, ``stage2`` and
    ``stage3`` halve it again and double the channels: ``width``, ``2 * width``,
    ``4 * width``. Global average pooling gives the features, ``head`` the logits.
    Takes pictures ``(b, in_channels, h, w)`` with values in [0, 1], sides of at
    least 8; the stem's BatchNorm does the normalising.

    Attributes:
        feature_dim: number of features d, ``4 * width``.
        head: the linear classifier, replaced when the task changes.
    """

    def __init__(self, num_classes: int, in_channels: int, width: int) -> None:
        """Build with random weights; :func:`small_resnet` checks the arguments."""
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.stage1 = ResidualBlock(width, width, stride=1)
        self.stage2 = ResidualBlock(width, 2 * width, stride=2)
        self.stage3 = ResidualBlock(2 * width, 4 * width, stride=2)
        self.feature_dim = 4 * width
        self.head = nn.Linear(self.feature_dim, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Pooled features ``(b, d)`` of pictures ``(b, c, h, w)``."""
        channels = self.stem[0].in_channels
        if x.ndim != 4 or x.shape[1] != channels:
            raise ValueError(
                f"the model takes pictures (b, {channels}, h, w), got "
                f"{tuple(x.shape)}; build it with in_channels to match the data."
            )
        z = self.stage3(self.stage2(self.stage1(self.stem(x))))  # (b, d, h/8, w/8)
        return z.mean((2, 3))  # (b, d)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(b, num_classes)``."""
        return self.head(self.features(x))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., 2016, figure 2)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        """Build; the shortcut is the identity where shapes allow it."""
        super().__init__()
        self.conv1 = nn.Conv2d(
            in_channels, channels, 3, stride=stride, padding=1, bias=False
        )
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, in_channels, h, w)`` to ``(b, channels, h/stride, w/stride)``."""
        z = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(z)) + self.shortcut(x))


class Mlp(nn.Module):
    """Perceptron on flattened inputs, ReLU between the layers.

    Args:
        in_features: numbers per sample; pictures are flattened.
        hidden: widths of the hidden layers, at least one.
        num_classes: number of logits.

    Attributes:
        body: the hidden layers.
        feature_dim: width of the last hidden layer.
        head: the linear classifier.
    """

    def __init__(
        self, in_features: int, hidden: Sequence[int], num_classes: int
    ) -> None:
        """Build with random weights."""
        super().__init__()
        whole("in_features", in_features, 1)
        whole("num_classes", num_classes, 1)
        if not hidden:
            raise ValueError("hidden must name at least one width, for example [64].")
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in zip([in_features, *hidden], hidden, strict=False):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.feature_dim = hidden[-1]
        self.head = nn.Linear(self.feature_dim, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Features ``(b, d)`` of samples ``(b, ...)``."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(b, num_classes)``."""
        return self.head(self.features(x))


def small_resnet(
    num_classes: int, in_channels: int = 1, width: int = 16
) -> SmallResNet:
    """A :class:`SmallResNet` with random weights.

    Args:
        num_classes: number of logits.
        in_channels: 1 for grey pictures, 3 for colour.
        width: channels of the first stage; time and memory grow with its square.

    Raises:
        ValueError: a number that is not a positive whole one.
    """
    whole("num_classes", num_classes, 1)
    whole("in_channels", in_channels, 1)
    whole("width", width, 1)
    return SmallResNet(num_classes, in_channels, width)
