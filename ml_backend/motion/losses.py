"""Losses of the motion network: eq. (2) of Yi et al. 2020, and Parley's, which looks at lips as an onlooker does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ml_backend.motion.network import POSE_SIZE

POSE_WEIGHT, POSE_SMOOTHNESS = 0.2, 0.01


def published_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Eq. (2): MSE(β) + 0.2 MSE(p) + 0.01 Σ ‖p_{t+1} − p_t‖² (mean over the batch) of (B, T, K + 6) tensors."""
    target = filled(target, predicted)
    expression, pose = _split(predicted)
    wanted, wanted_pose = _split(target)
    smoothness = (pose[:, 1:] - pose[:, :-1]).pow(2).sum((1, 2)).mean()
    return ((expression - wanted).pow(2).mean() + POSE_WEIGHT * (pose - wanted_pose).pow(2).mean()
            + POSE_SMOOTHNESS * smoothness)


@dataclass(frozen=True)
class LipLoss:
    """Eq. (2) plus lips: errors and velocities of the lip points that the expression moves, and of the whole outline.

    Attributes
    ----------
    operator : (K, M) from standardised expression to lip motion, its last two columns opening and width, each
        column scaled so that typical speech has variance 1
    channel_weight : (K,) weight of each expression in the plain term
    lips, velocity, shape : weights of the lip term, its velocity, and 1 − correlation of opening and width
    """

    operator: Tensor
    channel_weight: Tensor
    lips: float = 1.0
    velocity: float = 0.5
    shape: float = 0.5

    def __call__(self, predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Mean loss of standardised (B, T, K + 6) tensors over the frames where `mask` (B, T) is 1."""
        target = filled(target, predicted)
        expression, pose = _split(predicted)
        wanted, wanted_pose = _split(target)
        error = expression - wanted
        lips = error @ self.operator
        both = mask[:, 1:] * mask[:, :-1]
        moved = lips[:, 1:] - lips[:, :-1]
        result = _masked(error.pow(2) * self.channel_weight, mask)
        result = result + self.lips * (_masked(lips[..., :-2].pow(2), mask) + _masked(lips[..., -2:].pow(2), mask)) / 2
        result = result + self.velocity * _masked(moved.pow(2), both)
        result = result + POSE_WEIGHT * _masked((pose - wanted_pose).pow(2), mask)
        result = result + POSE_SMOOTHNESS * _masked((pose[:, 1:] - pose[:, :-1]).pow(2), both) * pose.shape[2]
        main = self.operator[:, -2:]
        return result + self.shape * (1 - correlation(expression @ main, wanted @ main, mask))

    def to(self, device: torch.device) -> LipLoss:
        """The same loss on `device`."""
        return replace(self, operator=self.operator.to(device), channel_weight=self.channel_weight.to(device))


def filled(target: Tensor, predicted: Tensor) -> Tensor:
    """`target` with the prediction itself where it is NaN, which is no error and teaches nothing."""
    return torch.where(target.isnan(), predicted.detach(), target)


def correlation(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Pearson's r of (B, T, D) tensors over time where `mask` (B, T) is 1, mean over batch and D."""
    weight = (mask / mask.sum(1, keepdim=True).clamp(min=1))[..., None]
    a = a - (a * weight).sum(1, keepdim=True)
    b = b - (b * weight).sum(1, keepdim=True)
    covariance = (a * b * weight).sum(1)
    # The floor keeps windows in which nothing moves (pauses) from shouting.
    scale = ((a * a * weight).sum(1) + 0.05).sqrt() * ((b * b * weight).sum(1) + 0.05).sqrt()
    return (covariance / scale).mean()


def _split(values: Tensor) -> tuple[Tensor, Tensor]:
    return values[..., :-POSE_SIZE], values[..., -POSE_SIZE:]


def _masked(values: Tensor, mask: Tensor) -> Tensor:
    return (values.mean(-1) * mask).sum() / mask.sum().clamp(min=1)


def scaled_operator(operator: Tensor, std: Tensor) -> Tensor:
    """`operator` (K, M) taken to standardised weights (times `std` (K,)), each column divided by its length.

    The divisor of a column is the root of its summed squares: the standard deviation it would have if the channels
    moved independently.
    """
    scaled = operator * std[:, None]
    return scaled / scaled.pow(2).sum(0, keepdim=True).sqrt().clamp(min=torch.finfo(torch.float32).eps)
