"""Extracting: what is right, and the traces that a careless hook leaves."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tlcourse import features
from tlcourse.exercises.spec import Key, Mutant


@dataclass(frozen=True)
class _Careless:
    """An extraction that does everything right but for one point."""

    eval_mode: bool = True
    no_grad: bool = True
    detach: bool = False
    restore: str = "each"  # "each" module, the "root" for all, or "never"
    remove_hook: bool = True
    clean_up_after_errors: bool = True
    drop_last: bool = False
    in_batches: bool = True
    pool: bool = True

    def __call__(
        self, model: nn.Module, x: Tensor, layer: str, batch_size: int
    ) -> Tensor:
        modes = {m: m.training for m in model.modules()}
        seen: list[Tensor] = []
        hook = model.get_submodule(layer).register_forward_hook(
            lambda module, args, output: seen.append(output)
        )
        if self.eval_mode:
            model.eval()
        try:
            self._run(model, x, batch_size if self.in_batches else len(x))
        except Exception:
            if self.clean_up_after_errors:
                self._clean_up(model, modes, hook)
            raise
        self._clean_up(model, modes, hook)
        z = torch.cat([self._pooled(part) for part in seen])
        return z.detach() if self.detach else z

    def _run(self, model: nn.Module, x: Tensor, size: int) -> None:
        n = len(x) // size * size if self.drop_last else len(x)
        grad = torch.no_grad() if self.no_grad else contextlib.nullcontext()
        with grad:
            for start in range(0, n, size):
                model(x[start : start + size])

    def _clean_up(self, model, modes, hook) -> None:  # noqa: ANN001
        if self.remove_hook:
            hook.remove()
        if self.restore == "root":
            model.train(modes[model])
        elif self.restore == "each":
            for module, mode in modes.items():
                module.training = mode

    def _pooled(self, z: Tensor) -> Tensor:
        return z.mean((2, 3)) if z.ndim == 4 and self.pool else z.flatten(1)


extract_features = Key(
    reference=features.extract_features,
    mutants=(
        Mutant(
            "keeps_graph",
            _Careless(no_grad=False),
            "The features drag their whole computation graph along: memory grows with "
            "every batch, and a later backward() would reach the frozen network. Run "
            "the passes under `torch.no_grad()`.",
        ),
        Mutant(
            "detached_late",
            _Careless(no_grad=False, detach=True),
            "detach() at the end comes too late: each forward pass still recorded its "
            "graph and kept the activations. Run the passes under `torch.no_grad()`.",
        ),
        Mutant(
            "leaks_hook",
            _Careless(remove_hook=False),
            "Your hook is still on the model: every later pass runs it and keeps its "
            "outputs alive. Call `handle.remove()` when you are done.",
        ),
        Mutant(
            "train_mode",
            _Careless(eval_mode=False),
            "The model ran in train mode: BatchNorm normalised by the batch and moved "
            "its running statistics, so features depend on the batch, and extracting "
            "changed the network. Call `model.eval()` first.",
        ),
        Mutant(
            "stays_in_eval",
            _Careless(restore="never"),
            "The model is left in eval mode, so the training that goes on afterwards "
            "runs without dropout and BatchNorm updates. Give the modes back.",
        ),
        Mutant(
            "root_mode_for_all",
            _Careless(restore="root"),
            "`model.train(mode)` at the end puts every part into the mode of the "
            "whole, also the BatchNorm that its owner held in eval mode. Remember and "
            "restore `training` module by module.",
        ),
        Mutant(
            "no_clean_up_after_errors",
            _Careless(clean_up_after_errors=False),
            "When the model raises, your hook stays and the mode is not restored. Put "
            "the clean-up into a `finally` block or a context manager.",
        ),
        Mutant(
            "last_batch_dropped",
            _Careless(drop_last=True),
            "The last, smaller batch is missing, so rows and labels no longer match. "
            "`x.split(batch_size)` gives it too.",
        ),
        Mutant(
            "all_at_once",
            _Careless(in_batches=False),
            "All samples went through the model in one batch. `batch_size` bounds the "
            "memory: pass at most so many at a time.",
        ),
        Mutant(
            "flattened_map",
            _Careless(pool=False),
            "A map (b, c, h, w) was flattened to (b, c h w). Average over h and w: "
            "(b, c), one number per channel.",
        ),
    ),
)
