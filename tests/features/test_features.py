import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tlcourse.features import (
    extract_features,
    freeze,
    knn_predict,
    linear_cka,
    nearest,
    ridge_probe,
    unfreeze,
)
from tlcourse.models import small_resnet


def net():
    return small_resnet(5, width=4)


def training_steps(model, steps=3):
    """Ordinary steps on whatever asks for a gradient, in train mode."""
    model.train()
    x, y = torch.rand(8, 1, 16, 16), torch.arange(8) % 5
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def state(model, prefix=""):
    return {k: v.clone() for k, v in model.state_dict().items() if k.startswith(prefix)}


def changed(before, after):
    return {k for k in before if not torch.equal(before[k], after[k])}


def test_freeze_holds_parameters_and_statistics_through_train():
    model = freeze(net(), ["head"])
    before = state(model)
    training_steps(model)
    assert changed(before, state(model)) == {"head.weight", "head.bias"}
    assert not model.stage1.norm1.training and model.head.training


def test_the_control_without_freeze_changes_statistics():
    model = net()
    before = state(model)
    training_steps(model)
    assert "stem.1.running_mean" in changed(before, state(model))


def test_frozen_outputs_do_not_depend_on_the_rest_of_the_batch():
    model = freeze(net(), ["head"]).train()
    x = torch.rand(6, 1, 16, 16)
    torch.testing.assert_close(model.features(x)[:1], model.features(x[:1]))


def test_kept_parts_follow_train_and_eval():
    head = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    model = freeze(nn.Sequential(nn.Linear(4, 3), head), ["1"])
    model.train()
    assert head[0].training and not model[0].training
    model.eval()
    assert not head[0].training


def test_a_shared_parameter_keeps_learning():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[0].weight = model[1].weight
    freeze(model, ["1"])
    assert model[0].weight.requires_grad and not model[0].bias.requires_grad


def test_a_copy_is_frozen_by_itself_and_unfreeze_frees_only_it():
    model = freeze(net())
    copied = unfreeze(copy.deepcopy(model))
    copied.train()
    model.train()
    assert copied.stem[1].training and not model.stem[1].training
    assert all(p.requires_grad for p in copied.parameters())
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("names", [["haed"], "head"])
def test_freeze_refuses_what_it_cannot_find(names):
    with pytest.raises(ValueError, match="head"):
        freeze(net(), names)


def test_features_are_those_of_one_plain_pass():
    model, x = net(), torch.rand(7, 1, 16, 16)
    training_steps(model, 1)  # running statistics that are not 0 and 1
    z = extract_features(model, x, "stage3", batch_size=3)
    model.eval()
    torch.testing.assert_close(z, model.features(x).detach())


def test_grid_cells_are_block_means():
    model, x = net().eval(), torch.rand(2, 1, 16, 16)
    z = extract_features(model, x, "stem", grid=2)
    maps = model.stem(x).detach()  # (2, 4, 8, 8)
    cells = [
        maps[:, :, i : i + 4, j : j + 4].mean((2, 3)) for i in (0, 4) for j in (0, 4)
    ]
    torch.testing.assert_close(z, torch.stack(cells, 2).flatten(1))


def test_extraction_leaves_no_trace_even_when_the_model_raises():
    model = net().train()
    model.stage2.norm1.eval()
    modes = [m.training for m in model.modules()]
    before = state(model)
    assert not extract_features(model, torch.rand(4, 1, 16, 16), "head").requires_grad
    with pytest.raises(ValueError):
        extract_features(model, torch.rand(4, 3, 16, 16), "stem")
    assert modes == [m.training for m in model.modules()]
    assert not changed(before, state(model))
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(
    "n, layer, size", [(0, "stem", 4), (2, "stem", 0), (2, "x", 4)]
)
def test_extraction_refuses(n, layer, size):
    with pytest.raises(ValueError):
        extract_features(net(), torch.rand(n, 1, 16, 16), layer, size)


def test_sequences_are_refused_with_their_shape():
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        extract_features(nn.Sequential(nn.Linear(4, 4)), torch.rand(2, 3, 4), "0")


@pytest.mark.parametrize("n, d", [(60, 7), (20, 50)])
@pytest.mark.parametrize("penalty", [0.01, 1.0, 30.0])
def test_ridge_is_scikit_learns(n, d, penalty):
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    z, y = rng.normal(2, 1, (n, d)), rng.integers(0, 3, n)
    oracle = Ridge(alpha=penalty).fit(z, np.eye(4)[y])
    weight, bias = ridge_probe(torch.tensor(z), torch.tensor(y), 4, penalty)
    np.testing.assert_allclose(weight, oracle.coef_, atol=1e-8)
    np.testing.assert_allclose(bias, oracle.intercept_, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 12))
def test_ridge_gradient_is_zero_at_the_solution(seed, n, d):
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=g, dtype=torch.float64)
    y = torch.randint(0, 3, (n,), generator=g)
    weight, bias = (p.requires_grad_() for p in ridge_probe(z, y, 3, 0.5))
    error = z @ weight.T + bias - F.one_hot(y, 3)
    (error.square().sum() + 0.5 * weight.square().sum()).backward()
    assert weight.grad.abs().max() < 1e-9 and bias.grad.abs().max() < 1e-9


def test_ridge_keeps_the_dtype_and_refuses():
    z, y = torch.randn(6, 2), torch.arange(6) % 2
    assert {p.dtype for p in ridge_probe(z, y, 2)} == {torch.float32}
    for bad in [
        (z, y, 2, 0.0),
        (z, y, 1, 1.0),
        (z, y.float(), 2, 1.0),
        (z[:0], y[:0], 2),
    ]:
        with pytest.raises(ValueError):
            ridge_probe(*bad)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_knn_is_scikit_learns_where_votes_do_not_tie(k):
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(1)
    z, y, q = rng.normal(size=(90, 5)), rng.integers(0, 3, 90), rng.normal(size=(40, 5))
    oracle = KNeighborsClassifier(k, metric="cosine").fit(z, y)
    share = np.sort(oracle.predict_proba(q), axis=1)
    clear = share[:, -1] > share[:, -2]
    got = knn_predict(torch.tensor(z), torch.tensor(y), torch.tensor(q), k).numpy()
    np.testing.assert_array_equal(got[clear], oracle.predict(q)[clear])
    assert clear.sum() > 15


def test_knn_ties_go_to_the_class_of_the_nearest():
    z = torch.tensor([[1.0, 0.0], [1.0, 0.2], [1.0, 0.4], [1.0, 0.6], [-1.0, 0]])
    y = torch.tensor([2, 0, 0, 2, 1])
    query = torch.tensor([[5.0, 0.0]])
    assert knn_predict(z, y, query, 4).tolist() == [2]
    assert knn_predict(z, y, query, 3).tolist() == [0]


def test_leave_one_out_never_asks_the_sample_itself():
    z, y = torch.randn(1500, 3), torch.arange(1500)
    index, similarity = nearest(z, k=2)
    assert (index != y[:, None]).all() and (knn_predict(z, y, k=1) != y).all()
    i = 1200  # in the second block
    rest = F.cosine_similarity(z[i], z)
    rest[i] = -2
    assert index[i, 0] == rest.argmax()
    torch.testing.assert_close(similarity[i, 0], rest.max())


@pytest.mark.parametrize("k, queries", [(0, 3), (7, 3), (6, None)])
def test_knn_refuses_k(k, queries):
    z, y = torch.randn(6, 2), torch.arange(6)
    with pytest.raises(ValueError, match="k must"):
        knn_predict(z, y, None if queries is None else torch.randn(queries, 2), k)


def gram_cka(a, b):
    """Kornblith et al., eqs. 3 and 4, with the centring matrix."""
    n = len(a)
    h = np.eye(n) - 1 / n
    k, m = h @ a @ a.T @ h, h @ b @ b.T @ h
    return np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))


def loop_hsic(k, m):
    """The U-statistic itself: averages over tuples of different indices."""
    n = len(k)
    pair = triple = quad = 0.0
    for i in range(n):
        for j in set(range(n)) - {i}:
            pair += k[i, j] * m[i, j]
            for q in set(range(n)) - {i, j}:
                triple += k[i, j] * m[i, q]
                quad += sum(k[i, j] * m[q, r] for r in set(range(n)) - {i, j, q})
    return (
        pair / (n * (n - 1))
        - 2 * triple / (n * (n - 1) * (n - 2))
        + quad / (n * (n - 1) * (n - 2) * (n - 3))
    )


@pytest.mark.parametrize("n, d1, d2", [(30, 4, 6), (9, 40, 30), (12, 3, 200)])
def test_cka_is_the_gram_form(n, d1, d2):
    rng = np.random.default_rng(n)
    a, b = rng.normal(3, 1, (n, d1)), rng.normal(size=(n, d2))
    b[:, :3] += a[:, :3]
    got = linear_cka(torch.tensor(a), torch.tensor(b))
    np.testing.assert_allclose(got, gram_cka(a, b), rtol=1e-10)


@pytest.mark.parametrize("d", [3, 30])
def test_debiased_cka_is_the_average_over_tuples(d):
    rng = np.random.default_rng(d)
    a = rng.normal(5, 1, (9, d))
    b = a[:, :2] + rng.normal(size=(9, 2))
    k, m = a @ a.T, b @ b.T
    oracle = loop_hsic(k, m) / np.sqrt(loop_hsic(k, k) * loop_hsic(m, m))
    got = linear_cka(torch.tensor(a), torch.tensor(b), debiased=True)
    np.testing.assert_allclose(got, oracle, rtol=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.booleans())
def test_cka_ignores_rotation_shift_and_scale(seed, scale, debiased):
    g = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(12, d, generator=g, dtype=torch.float64) for d in (4, 6))
    q, _ = torch.linalg.qr(torch.randn(4, 4, generator=g, dtype=torch.float64))
    moved = linear_cka(scale * a @ q + 7, b, debiased=debiased)
    torch.testing.assert_close(moved, linear_cka(a, b, debiased=debiased))
    torch.testing.assert_close(
        linear_cka(a, scale * a @ q, debiased=debiased), torch.ones((), dtype=a.dtype)
    )


def test_independent_noise_looks_alike_only_to_the_plain_form():
    pairs = [torch.randn(2, 50, 1000) for _ in range(20)]
    plain = torch.stack([linear_cka(a, b) for a, b in pairs])
    fair = torch.stack([linear_cka(a, b, debiased=True) for a, b in pairs])
    assert plain.min() > 0.9
    assert fair.mean().abs() < 4 * fair.std() / 20**0.5


@pytest.mark.parametrize(
    "a, b",
    [
        (torch.randn(5, 2), torch.randn(6, 2)),
        (torch.randn(5, 2), torch.full((5, 3), 0.1)),
        (torch.randn(1, 2), torch.randn(1, 2)),
        (torch.randn(5), torch.randn(5)),
    ],
)
def test_cka_refuses(a, b):
    with pytest.raises(ValueError):
        linear_cka(a, b)
