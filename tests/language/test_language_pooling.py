import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.language import cls_pool, mean_pool


def batch(b=4, t=6, d=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(b, t, d, generator=generator)
    mask = torch.randint(2, (b, t), generator=generator)
    mask[:, 0] = 1
    return hidden, mask


def by_loop(hidden, mask):
    rows = []
    for states, flags in zip(hidden.double(), mask, strict=True):
        real = [s for s, m in zip(states, flags, strict=True) if m]
        rows.append(sum(real) / len(real))
    return torch.stack(rows)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float32])
def test_mean_pool_is_the_loop_over_real_tokens(dtype):
    hidden, mask = batch()
    z = mean_pool(hidden, mask.to(dtype))
    torch.testing.assert_close(z.double(), by_loop(hidden, mask))


def test_sentence_transformers_formula():
    """The formula of the model card, with its clamp."""
    hidden, mask = batch(7, 9, 5)
    wide = mask.unsqueeze(-1).expand(hidden.size()).float()
    card = torch.sum(hidden * wide, 1) / torch.clamp(wide.sum(1), min=1e-9)
    torch.testing.assert_close(mean_pool(hidden, mask), card)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 5))
def test_more_padding_changes_nothing(seed, extra):
    hidden, mask = batch(seed=seed)
    longer = torch.cat([hidden, torch.full((4, extra, 3), torch.nan)], 1)
    flags = torch.cat([mask, torch.zeros(4, extra, dtype=torch.int64)], 1)
    torch.testing.assert_close(mean_pool(longer, flags), mean_pool(hidden, mask))


def test_gradients_reach_real_tokens_only():
    hidden, mask = batch()
    hidden.requires_grad_()
    mean_pool(hidden, mask).sum().backward()
    expected = (mask / mask.sum(1, keepdim=True))[..., None].expand(4, 6, 3)
    torch.testing.assert_close(hidden.grad, expected)


def test_gradcheck():
    hidden, mask = batch(2, 3, 2)
    hidden = hidden.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda h: mean_pool(h, mask), hidden)


def test_half_precision_keeps_its_dtype_and_sums_in_float32():
    hidden = torch.full((1, 400, 2), 300.0, dtype=torch.float16)  # the sum: 120,000
    z = mean_pool(hidden, torch.ones(1, 400))
    assert z.dtype == torch.float16 and (z == 300).all()


def test_cls_pool_is_the_first_token_and_a_copy():
    hidden, mask = batch()
    z = cls_pool(hidden, mask)
    torch.testing.assert_close(z, hidden[:, 0])
    z.zero_()
    assert (hidden[:, 0] != 0).any()


@pytest.mark.parametrize(
    ("hidden", "mask", "words"),
    [
        (torch.rand(2, 3, 4), torch.tensor([[1, 1, 0], [0, 0, 0]]), "no token.*text 1"),
        (torch.rand(2, 3, 4), torch.ones(2, 4), "attention_mask"),
        (torch.rand(2, 3, 4), torch.tensor([[1, 2, 0], [1, 1, 0]]), "input_ids"),
        (torch.rand(2, 3), torch.ones(2, 3), "last_hidden_state"),
        (torch.ones(2, 3, 4).long(), torch.ones(2, 3), "float tensor"),
        (torch.rand(0, 3, 4), torch.ones(0, 3), "at least one text"),
    ],
)
def test_mean_pool_refuses(hidden, mask, words):
    with pytest.raises(ValueError, match=words):
        mean_pool(hidden, mask)


def test_cls_pool_refuses_left_padding():
    with pytest.raises(ValueError, match="padding_side"):
        cls_pool(torch.rand(1, 3, 4), torch.tensor([[0, 1, 1]]))
