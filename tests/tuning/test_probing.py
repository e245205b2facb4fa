import pytest
import torch

from tlcourse.features import freeze
from tlcourse.models import Mlp, small_resnet
from tlcourse.training import fit
from tlcourse.tuning import Adapter, bitfit, lp_ft


def pair(n=24):
    g = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    x = torch.randn(n, 1, 16, 16, generator=g) + y[:, None, None, None]
    return x, y


def model(seed=0):
    torch.manual_seed(seed)
    return small_resnet(3, width=2)


def same(a, b):
    return all(torch.equal(v, b[k]) for k, v in a.items())


def run(net, **more):
    options = {"probe_epochs": 2, "epochs": 2, "progress": False, **more}
    return lp_ft(net, pair(), **options)


def test_is_two_fits_by_hand():
    ours, theirs = model(), model()
    probed, tuned = run(ours, probe_lr=0.05, lr=1e-3, batch_size=8, seed=3)
    options = {"batch_size": 8, "seed": 3, "progress": False}
    for p in theirs.parameters():
        p.requires_grad_(False)
    theirs.head.requires_grad_(True)
    body = [getattr(theirs, n) for n in ("stem", "stage1", "stage2", "stage3")]
    for part in body:
        part.eval()
        part.train = lambda mode=True, part=part: part
    first = fit(theirs, pair(), epochs=2, lr=0.05, **options)
    for part in body:
        del part.train
    theirs.requires_grad_(True)
    second = fit(theirs, pair(), epochs=2, lr=1e-3, **options)
    assert same(ours.state_dict(), theirs.state_dict())
    assert (probed, tuned) == (first, second)


def test_the_first_phase_moves_the_head_alone():
    net = model()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    seen = []

    def watch(x, generator):
        body = {k: v for k, v in net.state_dict().items() if "head" not in k}
        seen.append(
            (same(body, before), torch.equal(net.head.bias, before["head.bias"]))
        )
        return x

    run(net, batch_size=12, augment=watch)
    bodies, heads = zip(*seen, strict=True)
    assert all(bodies[:5]) and not any(bodies[5:])  # 4 steps, and before the fifth
    assert not any(heads[1:])


def test_what_the_owner_froze_stays_frozen():
    net = model()
    net.stem.requires_grad_(False)
    freeze(net.stage1)
    stem, stage1 = net.stem[0].weight.clone(), net.stage1.norm1.running_mean.clone()
    run(net)
    asking = {n.split(".")[0] for n, p in net.named_parameters() if p.requires_grad}
    assert asking == {"stage2", "stage3", "head"}
    assert torch.equal(net.stem[0].weight, stem)
    assert torch.equal(net.stage1.norm1.running_mean, stage1)
    net.train()
    assert net.stem.training and net.stage2.training and not net.stage1.conv1.training


def test_thaws_after_an_error():
    net = model()
    with pytest.raises(ValueError):
        run(net, probe_epochs=0)
    assert all(p.requires_grad for p in net.parameters())
    assert all(m.training for m in net.train().modules())


def test_lp_ft_refuses():
    with pytest.raises(ValueError, match="no head 'fc'; its direct parts are 'stem'"):
        run(model(), head="fc")
    with pytest.raises(ValueError, match="optimizer cannot serve two phases"):
        run(model(), optimizer=object())
    with pytest.raises(ValueError, match="unfreeze"):
        run(freeze(model(), except_for=["head"]))


# ---- training little


def test_bitfit_trains_biases_and_the_head():
    net = bitfit(model(), except_for=["head"])
    for name, p in net.named_parameters():
        wanted = name.endswith(".bias") or name.startswith("head.")
        assert p.requires_grad == wanted, name


def test_bitfit_refuses():
    with pytest.raises(ValueError, match="write \\['head'\\]"):
        bitfit(model(), "head")
    with pytest.raises(ValueError, match="no part 'fc'"):
        bitfit(model(), ["fc"])
    with pytest.raises(ValueError, match="named bias"):
        bitfit(torch.nn.Linear(2, 2, bias=False))


@pytest.mark.parametrize(("shape", "dim"), [((3, 5), -1), ((3, 4, 5), -1),
                                            ((3, 5, 2, 6), 1)])  # fmt: skip
def test_adapter_starts_as_the_identity_and_learns(shape, dim):
    adapter, z = Adapter(5, 2, dim), torch.randn(*shape)
    assert torch.equal(adapter(z), z)
    adapter(z).square().sum().backward()
    assert adapter.up.weight.grad.any()
    torch.nn.init.normal_(adapter.up.weight)
    moved = z.movedim(dim, -1)
    flat = moved.reshape(-1, 5)
    want = flat + adapter.up(adapter.down(flat).clamp(min=0))
    got = adapter(z).movedim(dim, -1).reshape(-1, 5)
    torch.testing.assert_close(got, want)


def test_adapter_refuses():
    for bad in (0, 1.5, True):
        with pytest.raises(ValueError, match="bottleneck must be a whole number"):
            Adapter(5, bad)


def test_mlp_has_a_head_too():
    x, y = pair()
    lp_ft(Mlp(256, [8], 3), (x, y), probe_epochs=1, epochs=1, progress=False)
