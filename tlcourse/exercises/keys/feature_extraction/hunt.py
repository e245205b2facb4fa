"""The bug hunt: what is right, and each of the five bugs alone."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.exercises.spec import Key, Mutant


@dataclass(frozen=True)
class _Probe:
    """A probe on cached features; each flag puts one mistake in."""

    train_mode: bool = False
    restore: str = "each"  # "each" module, the "root" for all, or "never"
    graph: bool = False
    detach: bool = False
    shuffled: bool = False
    noisy: bool = False
    scaled_by_test: bool = False

    def __call__(
        self, backbone: nn.Module, x_train: Tensor, y_train: Tensor, x_test: Tensor,
        num_classes: int,
    ) -> Tensor:  # fmt: skip
        z_train, z_test = self._cache(backbone, x_train), self._cache(backbone, x_test)
        mean, std = z_train.mean(0), z_train.std(0) + 1e-6
        z_train = (z_train - mean) / std
        if self.scaled_by_test:
            mean, std = z_test.mean(0), z_test.std(0) + 1e-6
        z_test = (z_test - mean) / std
        targets = F.one_hot(y_train, num_classes).float()
        gram = z_train.T @ z_train + torch.eye(z_train.shape[1])
        weight = torch.linalg.solve(gram, z_train.T @ (targets - targets.mean(0)))
        return z_test @ weight + targets.mean(0)

    def _cache(self, backbone: nn.Module, x: Tensor) -> Tensor:
        modes = {m: m.training for m in backbone.modules()}
        backbone.train(self.train_mode)
        order = torch.randperm(len(x)) if self.shuffled else torch.arange(len(x))
        with contextlib.nullcontext() if self.graph else torch.no_grad():
            parts = []
            for batch in x[order].split(8):
                if self.noisy:
                    batch = batch + 0.1 * torch.randn_like(batch)
                parts.append(backbone(batch))
        if self.restore == "root":
            backbone.train(modes[backbone])
        elif self.restore == "each":
            for module, mode in modes.items():
                module.training = mode
        z = torch.cat(parts)
        return z.detach() if self.detach else z


bug_hunt = Key(
    reference=_Probe(),
    mutants=(
        Mutant(
            "train_mode",
            _Probe(train_mode=True),
            "The backbone runs in train mode: BatchNorm uses and updates batch "
            "statistics and dropout drops, so that features are random and the frozen "
            "network drifts. Call `backbone.eval()` before caching.",
        ),
        Mutant(
            "stays_in_eval",
            _Probe(restore="never"),
            "The backbone comes back in eval mode. Remember the mode of each module "
            "and restore it when the features are cached.",
        ),
        Mutant(
            "root_mode_for_all",
            _Probe(restore="root"),
            "`backbone.train(mode)` at the end puts every part into one mode, also the "
            "BatchNorm that its owner held in eval mode. Remember and restore "
            "`training` module by module.",
        ),
        Mutant(
            "keeps_graph",
            _Probe(graph=True),
            "The cached features carry a graph back into the frozen backbone, which "
            "costs memory and lets gradients through. Cache under `torch.no_grad()`.",
        ),
        Mutant(
            "detached_late",
            _Probe(graph=True, detach=True),
            "detach() comes too late: each forward pass still recorded its graph and "
            "kept the activations. Run the passes under `torch.no_grad()`.",
        ),
        Mutant(
            "shuffled_features",
            _Probe(shuffled=True),
            "The pictures are shuffled before caching and the labels are not: row i of "
            "the features belongs to another label. Cache in order, shuffle later.",
        ),
        Mutant(
            "augmented_cache",
            _Probe(noisy=True),
            "Noise is added while caching: one random view is frozen for ever, and "
            "test pictures are disturbed too. Cache clean pictures, or several views "
            "each.",
        ),
        Mutant(
            "scaled_by_test",
            _Probe(scaled_by_test=True),
            "The test features are scaled by their own mean and deviation: a "
            "prediction then depends on the other test pictures, and the head sees "
            "another scale than in training. Use the training statistics for both.",
        ),
    ),
)
