"""Sizes of the refiner, and what a training run may vary. Both travel as JSON inside the weights file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ml_backend.errors import UserInputError

FEATURE_SIZE = 512
"""Length of identity features and memory keys (ArcFace and ResNet-18's pool5 agree on it)."""

Frames = Sequence[np.ndarray] | np.ndarray
"""T pictures (H, W, 3) uint8 RGB: a list, an array (T, H, W, 3), or anything that reads them one at a time."""

SIZE_MULTIPLE = 32
"""Both sides of a picture must be a multiple of this, so that five halvings come out even."""


@dataclass(frozen=True)
class RefinerConfig:
    """Sizes of generator, discriminator and memory.

    Attributes
    ----------
    name : "default" or "yi2020" (the sizes of Yi et al. 2020's published network)
    image : side of the square pictures it is meant for, pixels
    window : composites per input: t-2, t-1, t
    channels : features of the first level, multiplied by `multipliers` downwards
    multipliers : one factor per level; the published network has eight
    style_hidden, style_layers : width and number of linear layers of the AdaIN network
    dropout : probability in the first three upward blocks, training only
    unit_scale : scales are 1 + s instead of s, so that an untrained style network is near identity
    colour_base : what the colour head adds to: "none" (published: it says the colour itself), "composite", or
        "blurred" (the composite without its detail)
    normalise : what AdaIN takes out before it applies the identity's statistics: "instance" (published: those of each
        channel over the picture) or "batch" (those of each channel over all pictures learned from, so that a network
        learned on squares of a picture means the same on whole ones, of any size, and in the next frame)
    warp : how far, pixels, the composite under the colour may be moved by a displacement head; 0 = there is none
    attention_bias : where the attention head's logit starts; positive keeps the rendering. A colour that starts as the
        composite needs no keeping, and where the attention may flee to 1 the colour never learns (measured)
    attention_limit : how far, softly, the head may move that logit either way; 0 = as far as it likes, where a few bad
        steps can shut the colour out for good, which then learns nothing any more (measured)
    strength : share of the refinement that is used: A becomes 1 - strength (1 - A); what has learned a clip by heart is
        better on other frames of it where it says a little less
    disc_channels : first level of the discriminator
    memory_slots, memory_top_k : size of the memory, and how many neighbours the triplet loss looks at
    memory_margin : margin of the triplet loss, cosine
    identity_threshold : identity features with a higher cosine count as the same person
    """

    name: str = "default"
    image: int = 256
    window: int = 3
    channels: int = 24
    multipliers: tuple[int, ...] = (1, 2, 4, 6, 8)
    style_hidden: int = 64
    style_layers: int = 2
    dropout: float = 0.0
    unit_scale: bool = True
    colour_base: str = "composite"
    normalise: str = "batch"
    warp: float = 6.0
    attention_bias: float = -2.0
    attention_limit: float = 2.0
    strength: float = 1.0
    disc_channels: int = 32
    memory_slots: int = 1000
    memory_top_k: int = 64
    memory_margin: float = 0.3
    identity_threshold: float = 0.95

    def __post_init__(self) -> None:
        if self.name not in ("default", "yi2020"):
            raise UserInputError(f"There is no refiner config {self.name!r}; use 'default' or 'yi2020'.")
        if self.image % self.multiple:
            raise UserInputError(
                f"A refiner picture can't be {self.image} pixels wide; use a multiple of {self.multiple}."
            )
        object.__setattr__(self, "multipliers", tuple(self.multipliers))

    @property
    def multiple(self) -> int:
        """What the sides of pictures must be multiples of, pixels: the published network halves eight times."""
        return 256 if self.name == "yi2020" else SIZE_MULTIPLE

    def as_dict(self) -> dict[str, Any]:
        """The config as JSON-ready values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> RefinerConfig:
        """Inverse of `as_dict`.

        Raises
        ------
        UserInputError
            If there are names this version does not know.
        """
        unknown = set(values) - {field.name for field in fields(RefinerConfig)}
        if unknown:
            raise UserInputError(f"The refiner config has unknown entries {sorted(unknown)}; it is of another version.")
        # Weights from before there was a limit were learned without one.
        return RefinerConfig(**{"attention_limit": 0.0, **values})


def yi2020() -> RefinerConfig:
    """The published sizes: U-Net 54.6 M and AdaIN network 204.5 M parameters, 30,000 memory slots, dropout 0.5."""
    return RefinerConfig(
        name="yi2020",
        channels=64,
        multipliers=(1, 2, 4, 8, 8, 8, 8, 8),
        style_hidden=9984,
        style_layers=3,
        dropout=0.5,
        unit_scale=False,
        colour_base="none",
        normalise="instance",
        warp=0.0,
        attention_bias=0.0,
        attention_limit=0.0,
        disc_channels=64,
        memory_slots=30000,
        memory_top_k=256,
        identity_threshold=0.98,
    )


@dataclass(frozen=True)
class TrainOptions:
    """What one training run may vary; published: λ = 100, 2, 1e-5 and a learning rate of 1e-4 at fine-tuning.

    Attributes
    ----------
    learning_rate : of the generator at its peak; cosine decay to a twentieth over the time budget
    momentum : of Adam for the generator
    disc_rate, memory_rate : learning rates of discriminator and memory's linear layer
    batch : frames per step
    gan_weight : weight of the adversarial term once it is fully on
    gan_start, gan_full : shares of the time budget at which the adversarial term begins and is fully on
    l1_weight, attention_weight, variation_weight : λ1, λ2, λ3 of eq. (4)
    attention_last : λ2 from a fifth of the budget on, None = no change: once the colour is better than the rendering
        where that is wrong, the attention may rise where it is right
    structure_weight, edge_weight : weights of 1 - SSIM and of the L1 distance of image gradients
    detail_weight : weight of the difference in the amount of fine detail
    mouth_weight, eye_weight : extra weight of the L1 term around mouth and eyes (needs landmarks)
    coarse_share : share of the time budget trained at half resolution first
    crop, crop_until : side of the squares trained on, pixels (0 = whole frames), up to this share of the budget;
        whole frames after it, since instance statistics of a square are not those of a frame
    disc_crop : side of the patch the discriminator sees, pixels; 0 = the whole frame
    ema : decay of the averaged weights
    tail : share of the frames, at the end, held out
    flip : mirror half of the frames
    shift : largest shift of the augmentation, pixels
    gain : largest relative change of brightness of the augmentation
    checkpoint_seconds : time between looks at the tail
    identity_drop : share of the samples whose identity feature is taken away, so that faces of people never seen,
        whose features mean nothing to the network, are refined as well
    """

    learning_rate: float = 1e-3
    momentum: float = 0.5
    disc_rate: float = 2e-4
    memory_rate: float = 1e-4
    batch: int = 1
    gan_weight: float = 1.0
    gan_start: float = 0.5
    gan_full: float = 0.8
    l1_weight: float = 100.0
    attention_weight: float = 0.1
    attention_last: float | None = None
    variation_weight: float = 1e-5
    structure_weight: float = 10.0
    edge_weight: float = 50.0
    detail_weight: float = 0.0
    mouth_weight: float = 4.0
    eye_weight: float = 2.0
    coarse_share: float = 0.3
    crop: int = 256
    crop_until: float = 0.85
    disc_crop: int = 128
    ema: float = 0.995
    tail: float = 0.2
    flip: bool = False
    shift: int = 6
    gain: float = 0.04
    checkpoint_seconds: float = 30.0
    identity_drop: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON-ready values."""
        return asdict(self)
