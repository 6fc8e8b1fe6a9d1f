import pytest
import torch
from torch import nn

from deal_yolo.model.blocks import SSFF, LDConv, start_points
from tests.model.samples import with_statistics


@pytest.mark.parametrize(("points", "stride"), [(1, 1), (3, 2), (5, 1), (9, 2)])
def test_an_image_of_ones_samples_to_ones_everywhere_even_past_the_border(
    points: int, stride: int
) -> None:
    layer = LDConv(4, 8, points, stride)
    nn.init.normal_(layer.offset.weight, std=3)  # offsets of many px, out of the map too
    sampled = layer.sample(torch.ones(2, 4, 11, 13))
    torch.testing.assert_close(sampled, torch.ones_like(sampled))


def test_without_offsets_nine_points_are_a_plain_3x3_gather() -> None:
    layer = LDConv(3, 5, points=9, stride=1)
    x = torch.randn(2, 3, 7, 8)
    # The points start at the position itself, so the window reaches right and down.
    padded = nn.functional.pad(x, (0, 2, 0, 2), mode="replicate")
    gathered = nn.functional.unfold(padded, 3).view(2, 3, 9, 7, 8)
    expected = gathered.permute(0, 1, 3, 2, 4).reshape(2, 3, 7 * 9, 8)
    torch.testing.assert_close(layer.sample(x), expected, atol=1e-5, rtol=0)


def test_an_offset_of_half_a_pixel_interpolates() -> None:
    layer = LDConv(1, 1, points=1, stride=1)
    nn.init.constant_(layer.offset.bias[1:], 0.5)  # columns
    x = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 3, 4)
    row = torch.tensor([0.5, 1.5, 2.5, 3.0])  # the last is held at the border
    torch.testing.assert_close(layer.sample(x), row.expand(1, 1, 3, 4))


@pytest.mark.parametrize(
    ("points", "rows", "columns"),
    [(1, [0], [0]), (3, [0, 0, 1], [0, 1, 0]), (5, [0, 0, 1, 1, 2], [0, 1, 0, 1, 0])],
)
def test_points_fill_rows_from_the_top_left(points: int, rows: list, columns: list) -> None:
    assert start_points(points).tolist() == [rows, columns]


def test_gradients_reach_the_offsets() -> None:
    layer = LDConv(3, 4, points=3, stride=2)
    layer(torch.randn(2, 3, 16, 16)).square().sum().backward()
    assert layer.offset.weight.grad.abs().sum() > 0
    assert layer.offset.bias.grad.abs().sum() > 0


def test_coordinates_stay_exact_in_low_precision() -> None:
    layer = LDConv(1, 1, points=1, stride=1)
    ramp = (torch.arange(600) % 2).float().expand(1, 1, 2, 600)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sampled = layer.sample(ramp)
    torch.testing.assert_close(sampled.float(), ramp, atol=1e-3, rtol=0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (16, 16)])
def test_sizes_and_formats(size: tuple[int, int], stride: int) -> None:
    layer = LDConv(3, 4, points=3, stride=stride).eval()
    x = torch.randn(1, 3, *size)
    plain = layer(x)
    assert plain.shape == (1, 4, -(-size[0] // stride), -(-size[1] // stride))
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), plain)


def test_parameters_of_ldconv_follow_the_formula() -> None:
    c1, c2, n = 7, 11, 5
    layer = LDConv(c1, c2, n)
    expected = n * (c1 * c2 + 18 * c1 + 2) + 2 * c2
    assert sum(p.numel() for p in layer.parameters()) == expected


def test_folding_the_batch_norm_changes_nothing() -> None:
    x = torch.randn(2, 6, 8, 8)
    layer = with_statistics(LDConv(6, 4, 3, 2))
    before = layer(x)
    layer.fuse()
    torch.testing.assert_close(layer(x), before, atol=1e-5, rtol=1e-5)


class PublishedSSFF(nn.Module):
    """Conv3d 1x1x1, BatchNorm3d and LeakyReLU over stacked levels, then their maximum."""

    def __init__(self, ours: SSFF) -> None:
        super().__init__()
        channels = ours.conv.in_channels
        self.align = ours.align
        self.conv = nn.Conv3d(channels, channels, 1)
        self.bn = nn.BatchNorm3d(channels, eps=ours.bn.eps, momentum=ours.bn.momentum)
        self.conv.weight.data = ours.conv.weight.data[..., None].clone()
        self.conv.bias.data = ours.conv.bias.data.clone()
        self.bn.load_state_dict(ours.bn.state_dict())

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        size = levels[0].shape[2:]
        maps = [a(x) for a, x in zip(self.align, levels, strict=True)]
        stacked = torch.stack([nn.functional.interpolate(m, size=size) for m in maps], 2)
        return nn.functional.leaky_relu(self.bn(self.conv(stacked)), 0.1).amax(2)


@pytest.mark.parametrize("training", [True, False])
def test_ssff_equals_the_published_form(training: bool) -> None:
    ours = with_statistics(SSFF([8, 16, 32], 8))
    published = PublishedSSFF(ours)
    ours.train(training), published.train(training)
    levels = [torch.randn(2, c, s, s) for c, s in ((8, 16), (16, 8), (32, 4))]
    torch.testing.assert_close(ours(levels), published(levels), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours.bn.running_mean, published.bn.running_mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.bn.running_var, published.bn.running_var, atol=1e-6, rtol=1e-6)


def test_ssff_aligns_the_first_level_only_where_its_width_differs() -> None:
    assert isinstance(SSFF([8, 16], 8).align[0], nn.Identity)
    assert not isinstance(SSFF([4, 16], 8).align[0], nn.Identity)
