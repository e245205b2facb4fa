"""Learning from another model's outputs. Chapter 02 derives the loss."""

from __future__ import annotations

from torch import Tensor


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0
) -> Tensor:
    r"""Divergence of the student from the softened teacher (Hinton et al., 2015).

    With :math:`p_T(z) = \mathrm{softmax}(z / T)` (their eq. (1)),

    .. math:: T^2 \cdot \frac1n \sum_i \mathrm{KL}\big(
        p_T(z^{\text{teacher}}_i) \,\big\|\, p_T(z^{\text{student}}_i)\big).

    The factor T² keeps the gradient's size about the same for every T (their
    section 2). No gradient flows into the teacher.

    Args:
        student_logits: ``(n, k)`` float.
        teacher_logits: ``(n, k)`` float.
        temperature: T > 0.

    Returns:
        Scalar tensor, ``>= 0``, in nats; 0 where both agree.

    Raises:
        ValueError: shapes or dtypes do not fit, or T is not positive.
    """
    if student_logits.ndim != 2 or student_logits.shape != teacher_logits.shape:
        raise ValueError(
            "student and teacher logits must have one shape (n, k), got "
            f"{tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}."
        )
    floats = student_logits.is_floating_point() and teacher_logits.is_floating_point()
    if not floats or len(student_logits) == 0:
        raise ValueError(
            "logits must be float with n >= 1, got "
            f"{student_logits.dtype} and {teacher_logits.dtype}, n = "
            f"{len(student_logits)}."
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature!r}; try 4.")
    log_student = (student_logits / temperature).log_softmax(dim=1)
    log_teacher = (teacher_logits.detach() / temperature).log_softmax(dim=1)
    kl = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=1)  # (n,)
    return temperature**2 * kl.mean()
