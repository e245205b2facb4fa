import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from tlcourse.meta import class_prototypes, proto_logits

quiet = settings(max_examples=30, deadline=None, derandomize=True)


def draw(seed=0, ways=4, counts=(1, 3, 2, 5), d=6, lead=(), dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(ways).repeat_interleave(torch.tensor(counts))
    y = torch.stack(
        [
            y[torch.randperm(len(y), generator=g)]
            for _ in range(int(torch.tensor(lead).prod()))
        ]
    ).view(*lead, len(y))
    z = torch.randn(*y.shape, d, generator=g, dtype=dtype)
    q = torch.randn(*lead, 7, d, generator=g, dtype=dtype)
    return q, z, y


def slow_prototypes(z, y, ways):
    z = z.double()
    rows = [[z[i] for i in range(len(y)) if y[i] == c] for c in range(ways)]
    return torch.stack([sum(row) / len(row) for row in rows])


def slow_logits(q, p):
    return torch.tensor(
        [
            [
                -sum((float(a) - float(b)) ** 2 for a, b in zip(u, v, strict=True))
                for v in p
            ]
            for u in q
        ],
        dtype=torch.float64,
    )


@quiet
@given(seed=st.integers(0, 2**31), d=st.integers(1, 9))
def test_is_the_textbook_loop(seed, d):
    q, z, y = draw(seed, d=d)
    p = class_prototypes(z, y, 4)
    torch.testing.assert_close(p, slow_prototypes(z, y, 4))
    torch.testing.assert_close(proto_logits(q, p), slow_logits(q, p))


@pytest.mark.parametrize("lead", [(1,), (5,), (2, 3)])
def test_leading_dimensions_are_episodes(lead):
    q, z, y = draw(lead=lead)
    p = class_prototypes(z, y, 4)
    logits = proto_logits(q, p)
    assert p.shape == (*lead, 4, 6) and logits.shape == (*lead, 7, 4)
    flat = [v.flatten(0, len(lead) - 1) for v in (q, z, y, p, logits)]
    for one_q, one_z, one_y, one_p, one_logits in zip(*flat, strict=True):
        torch.testing.assert_close(class_prototypes(one_z, one_y, 4), one_p)
        torch.testing.assert_close(proto_logits(one_q, one_p), one_logits)


def test_exact_far_from_the_origin():
    """Distances of 0.01 at offset 1000, where the product form has no digit left."""
    g = torch.Generator().manual_seed(0)
    p = 1000 + 0.01 * torch.rand(5, 64, generator=g)
    q = 1000 + 0.01 * torch.rand(40, 64, generator=g)
    exact = slow_logits(q, p)
    torch.testing.assert_close(proto_logits(q, p).double(), exact, rtol=1e-5, atol=0)
    product = 2 * q @ p.T - q.square().sum(1, keepdim=True) - p.square().sum(1)
    assert (product.double() - exact).abs().max() > 100 * exact.abs().max()


def test_prototypes_are_exact_to_the_last_place_far_from_the_origin():
    q, z, y = draw(dtype=torch.float32, counts=(1, 30, 20, 50))
    z = 1000 + 0.01 * z
    gap = (class_prototypes(z, y, 4) - slow_prototypes(z, y, 4)).abs().max()
    assert gap <= 0.51 * torch.finfo(torch.float32).eps * 1024


def test_one_shot_prototypes_are_the_samples():
    q, z, y = draw(counts=(1, 1, 1, 1), dtype=torch.float32)
    torch.testing.assert_close(class_prototypes(z, y, 4)[y], z)
    assert torch.equal(proto_logits(z, class_prototypes(z, y, 4)).argmax(1), y)


def test_gradients():
    q, z, y = draw(d=3, lead=(2,))
    z.requires_grad_()
    q.requires_grad_()

    def logits(q, z):
        return proto_logits(q, class_prototypes(z, y, 4))

    assert gradcheck(logits, (q, z)) and gradgradcheck(logits, (q, z))
    p = class_prototypes(z, y, 4)
    total = proto_logits(p, p).diagonal(dim1=-2, dim2=-1).sum()
    (grad,) = torch.autograd.grad(total, z)
    torch.testing.assert_close(grad, torch.zeros_like(grad))  # no nan at distance 0


@quiet
@given(seed=st.integers(0, 2**31), shift=st.floats(-50, 50))
def test_invariances(seed, shift):
    q, z, y = draw(seed)
    logits = proto_logits(q, class_prototypes(z, y, 4))
    moved = proto_logits(q + shift, class_prototypes(z + shift, y, 4))
    torch.testing.assert_close(moved, logits, rtol=1e-8, atol=1e-8)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    again = proto_logits(q, class_prototypes(z[order], y[order], 4))
    torch.testing.assert_close(again, logits)
    swap = torch.tensor([2, 0, 3, 1])
    renamed = proto_logits(q, class_prototypes(z, swap[y], 4))
    torch.testing.assert_close(renamed[:, swap], logits)


def test_dtype_and_views():
    q, z, y = draw()
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        p = class_prototypes(z.to(dtype), y, 4)
        assert p.dtype == dtype and proto_logits(q.to(dtype), p).dtype == dtype
    strided = torch.randn(6, 11, dtype=torch.float64).T
    torch.testing.assert_close(
        class_prototypes(strided, y, 4), slow_prototypes(strided, y, 4)
    )


Q, Z, Y = draw(dtype=torch.float32)


@pytest.mark.parametrize(
    ("z", "y", "ways", "message"),
    [
        (Z.long(), Y, 4, "support_z must be a float tensor"),
        (Z[0], Y[0], 4, "support_z must be a float tensor"),
        (Z[:0], Y[:0], 4, "support_z must be a float tensor"),
        (Z.tolist(), Y, 4, "support_z must be a float tensor"),
        (Z.index_fill(0, Y[:1], torch.nan), Y, 4, "support_z holds nan"),
        (Z, Y.float(), 4, "support_y must be an int64"),
        (Z, Y[1:], 4, "support_y must have one label per row"),
        (Z, Y + 1, 4, "support_y must lie in 0..3, got 1..4"),
        (Z, Y, 3, "support_y must lie in 0..2"),
        (Z, Y, 5, "support_y must hold every class"),
        (Z, Y, 0, "num_ways must be a whole number"),
        (Z, Y, 4.0, "num_ways must be a whole number"),
    ],
)
def test_bad_support(z, y, ways, message):
    with pytest.raises(ValueError, match=message):
        class_prototypes(z, y, ways)


@pytest.mark.parametrize(
    ("q", "p", "message"),
    [
        (Q, Z[:, :3], "query_z and prototypes may differ only"),
        (Q[None], Z, "query_z and prototypes may differ only"),
        (Q[None], Z[None].expand(2, -1, -1), "query_z and prototypes may differ only"),
        (Q.double(), Z, "one dtype"),
        (Q * torch.inf, Z, "query_z holds nan or inf"),
        (Q, Z * torch.nan, "prototypes holds nan or inf"),
    ],
)
def test_bad_queries(q, p, message):
    with pytest.raises(ValueError, match=message):
        proto_logits(q, p)
