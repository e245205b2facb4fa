import itertools
import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.losses import nt_xent, sup_con

quiet = settings(max_examples=30, deadline=None, derandomize=True)
drawn = {
    "seed": st.integers(0, 2**31),
    "n": st.integers(2, 8),
    "tau": st.floats(0.02, 20),
}


def draw(seed, n, d=5, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, n, d, generator=g, dtype=torch.float64).to(dtype))


def draw_labelled(seed, n, classes=3, d=4):
    """At least two classes, one of them with two rows."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=g)
    labels[:3] = torch.tensor([0, 0, 1])
    z = torch.randn(n, d, generator=g, dtype=torch.float64)
    order = torch.randperm(n, generator=g)
    return z[order], labels[order]


def cosine(a, b):
    dot = sum(p * q for p, q in zip(a, b, strict=True))
    return dot / math.hypot(*a) / math.hypot(*b)


def slow_sup_con(z, labels, tau):
    """The textbook, one anchor, one positive, one negative at a time."""
    rows, y = z.tolist(), labels.tolist()
    losses = []
    for i, anchor in enumerate(rows):
        others = [k for k in range(len(rows)) if k != i]
        exps = [math.exp(cosine(anchor, rows[k]) / tau) for k in others]
        terms = [
            -math.log(math.exp(cosine(anchor, rows[p]) / tau) / sum(exps))
            for p in others
            if y[p] == y[i]
        ]
        if terms:
            losses.append(sum(terms) / len(terms))
    return sum(losses) / len(losses)


def plain_nt_xent(z1, z2, tau):
    """Cross-entropy of the whole matrix, any dtype."""
    n = len(z1)
    u = F.normalize(torch.cat([z1, z2]), dim=1)
    own = torch.eye(2 * n, dtype=torch.bool)
    logits = (u @ u.T / tau).masked_fill(own, -math.inf)
    return F.cross_entropy(logits, (torch.arange(2 * n) + n) % (2 * n))


def gradients(loss, *inputs):
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    value = loss(*inputs)
    value.backward()
    return value.detach(), *(x.grad for x in inputs)


@quiet
@given(**drawn)
def test_nt_xent_is_the_slow_loop(seed, n, tau):
    z1, z2 = draw(seed, n)
    slow = slow_sup_con(torch.cat([z1, z2]), torch.arange(n).repeat(2), tau)
    assert nt_xent(z1, z2, tau).item() == pytest.approx(slow, abs=1e-9)


@quiet
@given(seed=drawn["seed"], n=st.integers(3, 12), tau=drawn["tau"])
def test_sup_con_is_the_slow_loop(seed, n, tau):
    z, y = draw_labelled(seed, n)
    assert sup_con(z, y, tau).item() == pytest.approx(slow_sup_con(z, y, tau), abs=1e-9)


@pytest.mark.parametrize("tau", [0.01, 0.1, 0.5, 10.0])
@pytest.mark.parametrize("n", [2, 127, 128, 129, 300])  # 2n around blocks of 256
def test_nt_xent_is_exact_at_every_block_boundary(n, tau):
    views = draw(n, n, d=7)
    found = gradients(lambda a, b: nt_xent(a, b, tau), *views)
    wanted = gradients(lambda a, b: plain_nt_xent(a, b, tau), *views)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("tau", [0.01, 0.1, 0.5, 10.0])
def test_float32_is_close_to_float64(tau):
    z1, z2 = draw(0, 300, d=64)
    z1, z2 = z1.float(), (0.2 * z1 + z2).float()
    value, *grads = gradients(lambda a, b: nt_xent(a, b, tau), z1, z2)
    exact, *wanted = gradients(
        lambda a, b: plain_nt_xent(a, b, tau), z1.double(), z2.double()
    )
    assert value.dtype == torch.float32 and grads[0].dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), abs=1e-6 + 3e-7 / tau)
    for ours, theirs in zip(grads, wanted, strict=True):
        error = (ours - theirs).norm() / theirs.norm()
        assert error < 2e-6 + 2e-6 / tau


def test_float32_slopes_vanish_where_the_batch_is_solved():
    z1, z2 = draw(0, 300, d=64)
    z1, z2 = z1.float(), (z1 + 0.5 * z2).float()
    value, *grads = gradients(lambda a, b: nt_xent(a, b, 0.01), z1, z2)
    exact, *wanted = gradients(
        lambda a, b: plain_nt_xent(a, b, 0.01), z1.double(), z2.double()
    )
    assert -1e-6 < value < 1e-6 and exact < 1e-9
    for g, w in zip(grads, wanted, strict=True):
        # Without care they are 1e-4 here: differences of nearly equal products.
        assert g.abs().max() < 1e-9 and w.abs().max() < 1e-9


@quiet
@given(**drawn)
def test_nt_xent_is_sup_con_with_one_positive(seed, n, tau):
    z1, z2 = draw(seed, n)
    joined = sup_con(torch.cat([z1, z2]), torch.arange(n).repeat(2) - 3, tau)
    torch.testing.assert_close(nt_xent(z1, z2, tau), joined)


def test_gradients_are_those_of_finite_differences():
    z1, z2 = (z.requires_grad_() for z in draw(1, 4))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.3), (z1, z2))
    z, y = draw_labelled(2, 8)
    assert torch.autograd.gradcheck(lambda a: sup_con(a, y, 0.3), z.requires_grad_())


def test_upstream_factors_and_one_sided_gradients():
    z1, z2 = draw(3, 6)
    _, g1, g2 = gradients(lambda a, b: plain_nt_xent(a, b, 0.2), z1, z2)
    a = z1.clone().requires_grad_()
    (5 * nt_xent(a, z2, 0.2)).backward()  # z2 wants none: a stop-gradient branch
    torch.testing.assert_close(a.grad, 5 * g1)
    b = z2.clone().requires_grad_()
    nt_xent(z1, b, 0.2).backward()
    torch.testing.assert_close(b.grad, g2)
    both = z1.clone().requires_grad_()
    (nt_xent(both, z2, 0.2) + nt_xent(both, z2, 0.2)).backward()
    torch.testing.assert_close(both.grad, 2 * g1)


def test_gradient_of_a_positive_multiple_is_tangent_and_shrinks():
    z1, z2 = draw(4, 5)
    value, g1, _ = gradients(lambda a, b: nt_xent(a, b, 0.3), z1, z2)
    scaled, g3, _ = gradients(lambda a, b: nt_xent(a, b, 0.3), 3 * z1, z2)
    torch.testing.assert_close(scaled, value)
    torch.testing.assert_close(g3, g1 / 3)
    torch.testing.assert_close((g1 * z1).sum(1), torch.zeros(5).double())


@quiet
@given(**drawn)
def test_order_rotation_scale_and_the_role_of_the_views_do_not_count(seed, n, tau):
    z1, z2 = draw(seed, n)
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(n, generator=g)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, generator=g, dtype=torch.float64))
    length = torch.rand(n, 1, generator=g, dtype=torch.float64) + 0.1
    moved = nt_xent(((z2 * length) @ turn)[order], (z1 @ turn)[order], tau)
    torch.testing.assert_close(moved, nt_xent(z1, z2, tau), rtol=1e-7, atol=1e-9)


@quiet
@given(seed=drawn["seed"], n=st.integers(3, 12), tau=drawn["tau"])
def test_sup_con_does_not_mind_order_or_names_of_classes(seed, n, tau):
    z, y = draw_labelled(seed, n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    moved = sup_con(z[order], 10**12 - 7 * y[order], tau)
    torch.testing.assert_close(moved, sup_con(z, y, tau))


def test_a_collapsed_batch_costs_the_logarithm_of_its_negatives():
    z = torch.ones(6, 3, dtype=torch.float64)
    assert nt_xent(z, 2 * z, 0.1).item() == pytest.approx(math.log(11))
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert sup_con(z, labels, 0.1).item() == pytest.approx(math.log(5))


def test_perfect_views_cost_nothing_at_a_low_temperature():
    z = torch.eye(4)
    assert nt_xent(z, z, 0.01).item() == pytest.approx(0, abs=1e-5)
    assert nt_xent(z, -z, 0.01).item() > 99  # the positive is the farthest of all


def test_temperatures_where_exponentials_over_and_underflow():
    for tau in (1e-3, 1e-2):
        value, *grads = gradients(lambda a, b, t=tau: nt_xent(a, b, t), *draw(5, 40))
        wanted = plain_nt_xent(*draw(5, 40), tau)
        torch.testing.assert_close(value, wanted)
        assert all(g.isfinite().all() for g in grads)


def test_rows_of_any_length_have_a_direction():
    z1, z2 = draw(6, 4, dtype=torch.float32)
    wanted = nt_xent(z1, z2)
    for factor in (1e-25, 1e30):  # their squares under- and overflow
        torch.testing.assert_close(nt_xent(z1 * factor, z2), wanted)


def test_strides_dtypes_and_no_grad():
    z1, z2 = draw(7, 5)
    wanted = nt_xent(z1, z2)
    wide = torch.stack([z1, z2], 2)
    torch.testing.assert_close(nt_xent(wide[..., 0], wide[..., 1]), wanted)
    torch.testing.assert_close(nt_xent(z1.T.contiguous().T, z2), wanted)
    with torch.no_grad():
        torch.testing.assert_close(nt_xent(z1.requires_grad_(), z2), wanted)
    z1 = z1.detach()
    before = z1.clone(), z2.clone()
    nt_xent(z1, z2)
    assert torch.equal(before[0], z1) and torch.equal(before[1], z2)
    half = gradients(nt_xent, z1.bfloat16(), z2.bfloat16())
    assert half[0].dtype == torch.float32 and half[1].dtype == torch.bfloat16
    torch.testing.assert_close(
        half[0], nt_xent(*(z.bfloat16().float() for z in before))
    )


def test_autocast_does_not_coarsen_it():
    z1, z2 = draw(8, 40, d=32, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = gradients(lambda a, b: nt_xent(a, b, 0.05), z1, z2)
    for a, b in zip(
        inside, gradients(lambda a, b: nt_xent(a, b, 0.05), z1, z2), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_second_derivatives_are_refused():
    z1, z2 = draw(9, 4)
    z1.requires_grad_()
    with pytest.raises(RuntimeError, match="second derivative"):
        torch.autograd.grad(nt_xent(z1, z2), z1, create_graph=True)


def test_anchors_without_a_positive_are_left_out_but_stay_negatives():
    z, _ = draw(10, 5)
    y = torch.tensor([0, 0, 1, 2, 3])
    assert sup_con(z, y, 0.5).item() == pytest.approx(slow_sup_con(z, y, 0.5))
    leave = z.clone().requires_grad_()
    sup_con(leave, y, 0.5).backward()
    assert leave.grad[4].abs().sum() > 0  # a negative of the two anchors
    assert sup_con(z[:3], y[:3], 0.5) < sup_con(z, y, 0.5)


def test_sup_con_has_the_log_outside():
    z, y = draw_labelled(11, 9)
    u = F.normalize(z, dim=1)
    others = ~torch.eye(9, dtype=torch.bool)
    p = (u @ u.T / 0.2).masked_fill(~others, -math.inf).softmax(1)
    own = (y[:, None] == y) & others
    has = own.any(1)
    inside = -((p * own).sum(1) / own.sum(1).clamp(min=1))[has].log().mean()
    assert inside < sup_con(z, y, 0.2)  # Jensen: L_in <= L_out


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_sup_con_is_that_of_pytorch_metric_learning(seed, tau):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_metric_learning.losses import SupConLoss
    z, y = draw_labelled(seed, 20, classes=12)
    assert (y.bincount() == 1).any()  # anchors without a positive
    found = gradients(lambda a: sup_con(a, y, tau), z)
    wanted = gradients(lambda a: SupConLoss(temperature=tau)(a, y), z)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("tau", [0, 0.0, -1.0, math.nan, math.inf, "1", True])
def test_a_temperature_that_is_not_positive_is_refused(tau):
    z1, z2 = draw(12, 3)
    with pytest.raises(ValueError, match="temperature"):
        nt_xent(z1, z2, tau)
    with pytest.raises(ValueError, match="temperature"):
        sup_con(z1, torch.tensor([0, 0, 1]), tau)


def test_views_that_do_not_fit_are_refused():
    z1, z2 = draw(13, 4, dtype=torch.float32)
    bad = z2.clone()
    bad[2, 0] = math.nan
    zero = z2.clone()
    zero[2] = 0
    for other, text in [
        (z2[:3], "one shape"),
        (z2[:, :2], "one shape"),
        (z2.double(), "one dtype"),
        (z2.long(), "z2 must be a float"),
        (z2[0], "z2 must be a float"),
        (bad, "z2 holds nan"),
        (zero, "row 2 of z2 is a zero vector"),
        (z2.numpy(), "z2 must be a float"),
    ]:
        with pytest.raises(ValueError, match=text):
            nt_xent(z1, other)
    with pytest.raises(ValueError, match="z1 must have at least 2 rows"):
        nt_xent(z1[:1], z2[:1])


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([0, 1, 2, 3], "no row a positive"),
        ([1, 1, 1, 1], "one class only"),
        ([0, 0, 1], "int64 tensor of shape"),
        ([0.0, 0.0, 1.0, 1.0], "int64"),
        ([True, True, False, False], "int64"),
        ([[0, 0], [1, 1]], "shape"),
    ],
)
def test_labels_that_do_not_serve_are_refused(labels, text):
    z = draw(14, 4)[0]
    with pytest.raises(ValueError, match=f"labels.*{text}"):
        sup_con(z, torch.tensor(labels))


def test_sup_con_refuses_rows_that_do_not_serve():
    y = torch.tensor([0, 0, 1, 1])
    for z, text in [
        (torch.zeros(4, 3), "row 0 of z is a zero vector"),
        (torch.full((4, 3), math.inf), "z holds nan or inf"),
        (torch.ones(4), "z must be a float"),
        (torch.ones(4, 0), "one column"),
    ]:
        with pytest.raises(ValueError, match=text):
            sup_con(z, y)
    with pytest.raises(ValueError, match="labels"):
        sup_con(torch.ones(4, 3), [0, 0, 1, 1])


def test_memory_does_not_grow_with_the_square():
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                sizes.append(out.numel())
            return out

    z1, z2 = draw(15, 1000, d=4, dtype=torch.float32)
    y = torch.arange(1000) % 7
    for loss in (lambda a: nt_xent(a, z2), lambda a: sup_con(a, y)):
        a = z1.clone().requires_grad_()
        with Watch():
            loss(a).backward()
    assert 256 * 1000 <= max(sizes) <= 256 * 2000


def test_pairs_of_one_class_pull_each_other():
    """A few steps of descent bring the pairs together and the classes apart."""
    z, y = draw_labelled(16, 12)
    for _ in range(200):
        z = z.detach().requires_grad_()
        (g,) = torch.autograd.grad(sup_con(z, y, 0.2), z)
        z = F.normalize(z - g, dim=1)
    s = z.detach() @ z.detach().T
    same = y[:, None] == y
    pairs = list(itertools.combinations(range(12), 2))
    assert min(s[i, j] for i, j in pairs if same[i, j]) > max(
        s[i, j] for i, j in pairs if not same[i, j]
    )
