import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from tlcourse.meta import Matching, matching_attention, matching_probabilities

quiet = settings(max_examples=30, deadline=None, derandomize=True)
Y = torch.tensor([0, 2, 1, 1, 0, 2, 2])


def draw(seed=0, lead=(), d=5, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    shapes = (*lead, 4, d), (*lead, 7, d)
    return tuple(torch.randn(*s, generator=g, dtype=dtype) for s in shapes)


def slow_attention(q, s, temperature):
    def cosine(u, v):
        dot = sum(a * b for a, b in zip(u, v, strict=True))
        return dot / math.hypot(*u) / math.hypot(*v)

    rows = []
    for u in q.tolist():
        raised = [math.exp(cosine(u, v) / temperature) for v in s.tolist()]
        rows.append([value / sum(raised) for value in raised])
    return torch.tensor(rows, dtype=torch.float64)


@quiet
@given(seed=st.integers(0, 2**31), temperature=st.floats(0.05, 10))
def test_is_the_textbook_loop(seed, temperature):
    q, s = draw(seed)
    slow = slow_attention(q, s, temperature)
    torch.testing.assert_close(matching_attention(q, s, temperature), slow)
    summed = [slow[:, c == Y].sum(1) for c in range(3)]
    torch.testing.assert_close(
        matching_probabilities(q, s, Y, 3, temperature), torch.stack(summed, 1)
    )


def test_leading_dimensions_are_episodes():
    q, s = draw(lead=(2, 3))
    y = Y.expand(2, 3, -1)
    got = matching_probabilities(q, s, y, 3)
    assert got.shape == (2, 3, 4, 3)
    torch.testing.assert_close(
        got[1, 2], matching_probabilities(q[1, 2], s[1, 2], Y, 3)
    )


@quiet
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-18, 1e18))
def test_lengths_do_not_matter(seed, scale):
    """Also where a float32 square would overflow or vanish."""
    q, s = draw(seed, dtype=torch.float32)
    torch.testing.assert_close(
        matching_attention(q * scale, s), matching_attention(q, s)
    )


def test_most_that_one_sample_can_get():
    """The bound in the docstring."""
    s = torch.tensor([[1.0, 0.0], *[[-1.0, 0.0]] * 4])
    got = matching_attention(torch.tensor([[3.0, 0.0]]), s)[0, 0]
    assert got.item() == pytest.approx(1 / (1 + 4 * math.exp(-2)))


def test_a_small_temperature_is_the_nearest_neighbour_and_stays_finite():
    q, s = draw(dtype=torch.float32)
    sharp = matching_attention(q, s, 1e-4)
    cosine = torch.nn.functional.cosine_similarity(q[:, None], s[None], dim=2)
    assert torch.equal(sharp.argmax(1), cosine.argmax(1))
    head = Matching(1e-4)
    q.requires_grad_()
    scores = head(q, s, Y, 3)
    loss = head.loss(scores, torch.tensor([0, 1, 2, 0]))
    loss.backward()
    assert scores.isfinite().all() and q.grad.isfinite().all()


def test_gradient():
    q, s = (v.requires_grad_() for v in draw())
    assert gradcheck(lambda q, s: matching_probabilities(q, s, Y, 3, 0.5), (q, s))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda q, s: (q * 0, s), "query_z holds a vector of zeros"),
        (lambda q, s: (q, s.index_fill(0, Y[:1], 0.0)), "support_z holds a vector of"),
        (lambda q, s: (q, s[:, 1:]), "query_z and support_z may differ only"),
        (lambda q, s: (q.float(), s), "one dtype"),
        (lambda q, s: (q * torch.nan, s), "query_z holds nan"),
        (lambda q, s: (q[0], s), "query_z must be a float tensor"),
    ],
)
def test_bad_features(spoil, message):
    with pytest.raises(ValueError, match=message):
        matching_attention(*spoil(*draw()))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_bad_temperature(temperature):
    for call in (lambda t: matching_attention(*draw(), t), Matching):
        with pytest.raises(ValueError, match="temperature must be > 0"):
            call(temperature)


def test_bad_labels():
    q, s = draw()
    with pytest.raises(ValueError, match="support_y must hold every class"):
        matching_probabilities(q, s, Y, 4)
