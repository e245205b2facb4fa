"""Chapter 02: penalties towards a source model and distillation, right and wrong."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tlcourse import losses
from tlcourse.exercises.spec import Key, Mutant, Tolerance

_Weights = Mapping[str, Tensor]


def _shared(params: _Weights, source: _Weights) -> tuple[_Weights, _Weights]:
    """Parameters with a counterpart in the source, and the others."""
    pulled = {k: w for k, w in params.items() if _fits(w, source.get(k))}
    return pulled, {k: w for k, w in params.items() if k not in pulled}


def _fits(w: Tensor, start: Tensor | None) -> bool:
    return start is not None and start.shape == w.shape


def _squares(weights: _Weights) -> Tensor:
    return sum((w.square().sum() for w in weights.values()), start=0)


def _gaps(pulled: _Weights, source: _Weights) -> dict[str, Tensor]:
    return {name: w - source[name].detach() for name, w in pulled.items()}


def _to_zero(params: _Weights, source: _Weights, alpha: float, beta: float) -> Tensor:
    pulled, new = _shared(params, source)
    return alpha / 2 * _squares(pulled) + beta / 2 * _squares(new)


def _head_like_body(
    params: _Weights, source: _Weights, alpha: float, beta: float
) -> Tensor:
    return losses.l2_sp(params, source, alpha, alpha)


def _head_free(params: _Weights, source: _Weights, alpha: float, beta: float) -> Tensor:
    return losses.l2_sp(params, source, alpha, 0.0)


def _name_only(params: _Weights, source: _Weights, alpha: float, beta: float) -> Tensor:
    pulled = {name: w for name, w in params.items() if name in source}
    new = {name: w for name, w in params.items() if name not in source}
    return alpha / 2 * _squares(_gaps(pulled, source)) + beta / 2 * _squares(new)


def _no_half(params: _Weights, source: _Weights, alpha: float, beta: float) -> Tensor:
    return losses.l2_sp(params, source, 2 * alpha, 2 * beta)


def _not_squared(
    params: _Weights, source: _Weights, alpha: float, beta: float
) -> Tensor:
    pulled, new = _shared(params, source)
    first = sum(g.norm() for g in _gaps(pulled, source).values())
    return alpha / 2 * first + beta / 2 * sum(w.norm() for w in new.values())


def _averaged(params: _Weights, source: _Weights, alpha: float, beta: float) -> Tensor:
    pulled, new = _shared(params, source)
    first = sum(g.square().mean() for g in _gaps(pulled, source).values())
    return alpha / 2 * first + beta / 2 * sum(w.square().mean() for w in new.values())


def _source_moves(
    params: _Weights, source: _Weights, alpha: float, beta: float
) -> Tensor:
    pulled, new = _shared(params, source)
    gaps = {name: w - source[name] for name, w in pulled.items()}
    return alpha / 2 * _squares(gaps) + beta / 2 * _squares(new)


def _source_frozen(
    params: _Weights, source: _Weights, alpha: float, beta: float
) -> Tensor:
    frozen = {name: start.requires_grad_(False) for name, start in source.items()}
    return losses.l2_sp(params, frozen, alpha, beta)


l2_sp = Key(
    reference=losses.l2_sp,
    mutants=(
        Mutant(
            "pulls_to_zero",
            _to_zero,
            "Everything is pulled to zero: that is weight decay, which makes the model "
            "forget. Subtract the source's value first: (w - w0) squared.",
        ),
        Mutant(
            "head_like_body",
            _head_like_body,
            "The new head is penalised with alpha. It has no starting point worth "
            "keeping: its pull to zero has its own strength, beta.",
        ),
        Mutant(
            "head_free",
            _head_free,
            "The new head is not penalised at all. Parameters without a source value "
            "are pulled to zero: add beta / 2 times their squares.",
        ),
        Mutant(
            "name_only",
            _name_only,
            "You compare names only. A head for another number of classes has the same "
            "name and another shape; then the tensors do not fit, or worse, broadcast. "
            "Compare the shapes too.",
        ),
        Mutant(
            "no_half",
            _no_half,
            "The factor 1/2 is missing. With it the gradient is alpha (w - w0), and "
            "alpha means the same as in weight decay.",
        ),
        Mutant(
            "not_squared",
            _not_squared,
            "You add the norms themselves. The penalty is the squared norm; without "
            "the square the pull does not fade near the source.",
        ),
        Mutant(
            "averaged",
            _averaged,
            "You average over the entries of a tensor. The penalty sums them; "
            "otherwise a weight in a large layer is hardly pulled at all.",
        ),
        Mutant(
            "source_moves",
            _source_moves,
            "A gradient flows into the source tensors, so the anchor could move. "
            "Detach them: w0.detach().",
        ),
        Mutant(
            "source_frozen",
            _source_frozen,
            "Your code changed the source: its tensors no longer require gradients. "
            "w0.detach() gives a view without a gradient and leaves w0 alone.",
        ),
    ),
)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) per sample, ``(n,)``."""
    return (log_p.exp() * (log_p - log_q)).sum(1)


def _soft(logits: Tensor, temperature: float) -> Tensor:
    if temperature <= 0:
        raise ValueError("temperature must be > 0")
    return (logits / temperature).log_softmax(1)


def _not_scaled(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return losses.distillation_loss(student, teacher, temperature) / temperature**2


def _scaled_once(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return losses.distillation_loss(student, teacher, temperature) / temperature


def _reversed_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    soft_teacher = _soft(teacher.detach(), temperature)
    return temperature**2 * _kl(_soft(student, temperature), soft_teacher).mean()


def _teacher_learns(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    soft_student = _soft(student, temperature)
    return temperature**2 * _kl(_soft(teacher, temperature), soft_student).mean()


def _teacher_frozen(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return losses.distillation_loss(student, teacher.requires_grad_(False), temperature)


def _over_classes(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    loss = losses.distillation_loss(student, teacher, temperature)
    return loss / student.shape[1]


def _hard_student(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    soft_teacher = _soft(teacher.detach(), temperature)
    return temperature**2 * _kl(soft_teacher, _soft(student, 1.0)).mean()


def _soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    p = _soft(teacher.detach(), temperature).exp()
    return -(temperature**2) * (p * _soft(student, temperature)).sum(1).mean()


def _any_temperature(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return losses.distillation_loss(student, teacher, max(temperature, 1e-3))


distillation_loss = Key(
    reference=losses.distillation_loss,
    tolerance=Tolerance(atol=5e-5),  # logits near 500 have no more digits
    mutants=(
        Mutant(
            "not_scaled",
            _not_scaled,
            "The factor T squared is missing. Softening divides the gradient by about "
            "T squared; without the factor this loss fades beside the others as T "
            "grows.",
        ),
        Mutant(
            "scaled_once",
            _scaled_once,
            "You multiply by T once. Both distributions flatten, so the gradient falls "
            "with T squared: multiply by T**2.",
        ),
        Mutant(
            "reversed_kl",
            _reversed_kl,
            "The direction is reversed: KL(student || teacher). The teacher is the "
            "truth, so the expectation is over its distribution: KL(teacher || "
            "student).",
        ),
        Mutant(
            "teacher_learns",
            _teacher_learns,
            "A gradient flows into the teacher: it would learn to agree with the "
            "student. Detach its logits, or compute them under no_grad.",
        ),
        Mutant(
            "teacher_frozen",
            _teacher_frozen,
            "Your code changed the teacher: its logits no longer require a gradient. "
            "teacher.detach() gives a view without one and leaves the teacher alone.",
        ),
        Mutant(
            "mean_over_classes",
            _over_classes,
            "You average over samples and classes, as kl_div(reduction='mean') does: "
            "k times too small. Sum over classes, average over samples.",
        ),
        Mutant(
            "student_not_softened",
            _hard_student,
            "Only the teacher is divided by T. Soften both, or a student that agrees "
            "with the teacher is still punished.",
        ),
        Mutant(
            "cross_entropy_with_teacher",
            _soft_cross_entropy,
            "This is cross-entropy with soft targets. Its gradient is right, but it is "
            "not 0 where both agree: subtract the teacher's entropy, that is, add "
            "p log p.",
        ),
        Mutant(
            "any_temperature",
            _any_temperature,
            "A temperature of 0 or less was accepted. It divides by zero or turns the "
            "ranking round: raise a ValueError.",
        ),
    ),
)
