import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from deal_yolo.export.check import compare
from deal_yolo.export.graph import (
    FixedSSFF,
    LateUpsampling,
    SplitC2f,
    conv_part,
    decode_best,
    export_form,
    fix_upsampling,
    fold_batch_norm,
    gather_samples,
    halve,
    mix_before_upsampling,
    split_halves,
)
from deal_yolo.export.head import TILE, ScoresFirst
from deal_yolo.export.sampling import GatheredLDConv
from deal_yolo.model.blocks import DetectLite, DetectV8, LDConv
from deal_yolo.model.network import EndToEnd
from tests.export.weights import lively_model, pictures

MODELS = ("deal-yolo", "deal-yolo-ld", "deal-yolo-edge", "yolov8n")


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return lively_model(request.param, 128).eval()


@pytest.fixture
def folded(model):
    model = copy.deepcopy(model)
    fold_batch_norm(model)
    return model


def outputs(model, size=128):
    with torch.no_grad():
        return model(pictures(2, size, size, seed=3))[0]


def assert_same(got, want, tolerance=1e-5):
    """Equal to a share of the largest value: boxes are px, up to a few hundred."""
    assert float((got - want).abs().max()) <= tolerance * float(want.abs().max())


def test_folding_batch_norm_changes_nothing_and_leaves_none(model):
    want = outputs(model)
    folded = copy.deepcopy(model)
    fold_batch_norm(folded)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert_same(outputs(folded), want, 1e-4)  # the rounding of the whole network


@pytest.mark.parametrize(
    ("rewrites", "block", "models"),
    [
        ((fix_upsampling,), FixedSSFF, ("deal-yolo", "deal-yolo-ld")),
        ((split_halves,), SplitC2f, MODELS),
        ((split_halves, mix_before_upsampling), LateUpsampling, ("deal-yolo", "deal-yolo-ld")),
        ((gather_samples,), GatheredLDConv, ("deal-yolo-ld",)),
    ],
)
def test_a_rewrite_is_made_and_changes_nothing(folded, request, rewrites, block, models):
    want = outputs(folded)
    for rewrite in rewrites:
        rewrite(folded)
    made = sum(isinstance(m, block) for m in folded.modules())
    assert (made > 0) == (request.node.callspec.params["model"] in models)
    assert_same(outputs(folded), want, 1e-4)


@pytest.mark.parametrize("size", [128, 64])
def test_a_split_block_equals_the_block(folded, size):
    maps, blocks = record(folded, "C2f", size)
    for block, x in zip(blocks, maps, strict=True):
        with torch.no_grad():
            assert_same(SplitC2f(block)(x), block(x))


def record(model, kind, size):
    """The inputs of the rows of one kind, and those rows."""
    seen, rows = [], [m for m in model.model if m.type == kind]
    hooks = [m.register_forward_hook(lambda _m, x, _y: seen.append(x[0])) for m in rows]
    outputs(model, size)
    for hook in hooks:
        hook.remove()
    return seen, rows


@pytest.mark.parametrize(("points", "stride"), [(1, 1), (3, 2), (5, 1)])
@pytest.mark.parametrize(("c1", "c2"), [(8, 16), (16, 8)])
def test_gathering_equals_grid_sampling_inside_and_past_the_border(points, stride, c1, c2):
    torch.manual_seed(0)
    block = LDConv(c1, c2, points, stride).eval()
    nn.init.normal_(block.offset.weight, std=0.2)
    nn.init.normal_(block.offset.bias, std=3)
    block.bn.running_mean.normal_()
    block.bn.running_var.uniform_(0.5, 2)
    x = torch.randn(2, c1, 13, 18)
    with torch.no_grad():
        want = block(x)
        block.fuse()
        gathered = GatheredLDConv(block)
        assert gathered.mix_first == (points == stride == 1 and c2 < c1)
        assert_same(gathered(x), want)


def test_coordinates_stay_exact_in_half_precision():
    block = LDConv(1, 1, 1, 1).eval()
    nn.init.ones_(block.conv.weight)
    nn.init.constant_(block.offset.bias, 0.5)
    block.fuse()
    # FP16 has no 1,500.5; a ramp of 1/1,024 a px shows the column that was sampled.
    x = (torch.arange(2001) % 2).float().expand(1, 1, 4, -1)
    with torch.no_grad():
        gathered = GatheredLDConv(block)
        got = gathered(x.half()).float()
    inside = got[0, 0, :-1, 1000:-1]
    assert torch.allclose(inside, nn.functional.silu(torch.full_like(inside, 0.5)), atol=1e-3)


def test_in_half_precision_the_first_row_stays_exact(model):
    form = export_form(model, 50)
    images = pictures(1, 64, 64)
    with torch.no_grad():
        want = form.model[0](images)
        halve(form)
        got = form.model[0](images)
    assert torch.equal(got, want.half())
    kinds = {m.weight.dtype for m in form.model[1:].modules() if isinstance(m, nn.Conv2d)}
    assert torch.float16 in kinds


@pytest.mark.parametrize("keep", [1, 50, 100_000])
@pytest.mark.parametrize("size", [128, 96])
def test_boxes_of_the_best_anchors_equal_those_of_the_plain_head(model, keep, size):
    images = pictures(2, size, size, seed=4)
    folded = copy.deepcopy(model)
    fold_batch_norm(folded)
    with torch.no_grad():
        want = EndToEnd(folded, keep)(images)
        decode_best(folded, keep)
        got = folded(images)
    assert isinstance(folded.model[-1], ScoresFirst)
    assert got.shape == want.shape
    for one, other in zip(got.numpy(), want.numpy(), strict=True):
        np.testing.assert_allclose(one[:, 4:].max(1), other[:, 4:].max(1), atol=1e-5)
        _, box_px, score = compare(other, one)
        assert box_px < 1e-3
        assert score < 1e-5


@pytest.mark.parametrize("bins", [1, 8, 16])
@pytest.mark.parametrize("kind", [DetectV8, DetectLite])
def test_any_number_of_bins_is_decoded_as_the_head_does(kind, bins):
    torch.manual_seed(0)
    head = kind(4, bins, ch=[16, 24, 32]).eval()
    head.stride = torch.tensor([4.0, 8.0, 16.0])
    maps = [torch.randn(2, c, s, s + 1) for c, s in ((16, 12), (24, 6), (32, 3))]
    model = SimpleNamespace(modules=head.modules)
    with torch.no_grad():
        centre, size, scores = head([x.clone() for x in maps])[0].split([2, 2, 4], dim=1)
        fold_batch_norm(model)
        got = ScoresFirst(head, 10_000)(maps)
    want = torch.cat([centre - size / 2, centre + size / 2, scores], 1).transpose(1, 2)
    order = want[..., 4:].amax(2).sort(descending=True, stable=True).indices
    assert_same(got, want.gather(1, order[..., None].expand_as(want)), 1e-5)


@pytest.mark.parametrize("number", [1, 127, 128, 1000])
def test_a_tile_holds_anchors_of_one_level_and_each_anchor_has_a_place(folded, number):
    decode_best(folded, number)
    head = folded.model[-1]
    level = torch.randint(0, head.levels, (2, number), generator=torch.Generator().manual_seed(0))
    slot, tile_level = head._tiles(level)
    assert torch.equal(tile_level.gather(1, slot // TILE), level)
    assert all(len(set(places)) == number for places in slot.tolist())


def test_the_export_form_leaves_the_model_alone(model):
    want = outputs(model)
    form = export_form(model, 100)
    assert form(pictures(1, 96, 128)).shape == (1, 100, 8)
    assert torch.equal(outputs(model), want)


def test_parts_of_a_convolution_add_up():
    conv = nn.Conv2d(6, 4, 1)
    x = torch.randn(1, 6, 5, 5)
    parts = [
        conv_part(conv, slice(0, 2), slice(None)),
        conv_part(conv, slice(2, None), slice(None), bias=False),
    ]
    with torch.no_grad():
        assert_same(parts[0](x[:, :2]) + parts[1](x[:, 2:]), conv(x))
