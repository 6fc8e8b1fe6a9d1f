import os
from pathlib import Path

import numpy as np
import pytest

from deal_yolo.config import configs_folder, load
from deal_yolo.datasets.augment import Augmentation, AugmentConfig, load_augmentation
from deal_yolo.datasets.labels import Labels
from deal_yolo.datasets.preview import preview
from deal_yolo.errors import ConfigError, DatasetError
from tests.datasets.made import make, noise

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
A = pytest.importorskip("albumentations")
AERIAL = configs_folder() / "train" / "augment-aerial.yaml"


def labels(*boxes: tuple[float, float, float, float]) -> Labels:
    return Labels(np.array(boxes), np.arange(len(boxes)), np.zeros(len(boxes)))


def marked(boxes: Labels, size: int = 64) -> np.ndarray:
    """A dark image in which each box is filled with a grey level of its own."""
    image = np.full((size, size, 3), 20, np.uint8)
    for i, (x1, y1, x2, y2) in enumerate(boxes.xyxy.astype(int)):
        image[y1:y2, x1:x2] = 160 + 45 * i
    return image


def extent(image: np.ndarray, level: int) -> list[int]:
    ys, xs = np.nonzero(abs(image[..., 0].astype(int) - level) < 22)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def one(transform: dict[str, object], **more: object) -> AugmentConfig:
    return AugmentConfig(transforms=(transform,), **more)  # type: ignore[arg-type]


def test_quarter_turns_and_flips_turn_the_boxes_too() -> None:
    boxes = labels((4, 8, 24, 14), (40, 30, 46, 60))
    image = marked(boxes)
    augmentation = Augmentation(one({"D4": {"p": 1.0}}), seed=1)
    seen = set()
    for _ in range(64):
        turned, found = augmentation(image, boxes)
        for box, number in zip(found.xyxy, found.class_id, strict=True):
            assert extent(turned, 160 + 45 * number) == pytest.approx(box.tolist(), abs=0.02)
        seen.add(turned.tobytes())
    assert len(seen) == 8


@pytest.mark.parametrize("box", [(100, 120, 160, 200), (300, 20, 420, 60)])
def test_from_higher_up_objects_are_smaller_and_boxes_follow(box: tuple[float, ...]) -> None:
    image = marked(labels(box), 512)  # type: ignore[arg-type]
    settings = {"scale": [0.5, 0.5], "noise": [0, 0], "quality": [100, 100], "p": 1.0}
    seen, found = Augmentation(one({"Altitude": settings}))(image, labels(box))  # type: ignore[arg-type]
    ((x1, y1, x2, y2),) = found.xyxy.tolist()
    assert (x2 - x1, y2 - y1) == pytest.approx(((box[2] - box[0]) / 2, (box[3] - box[1]) / 2))
    assert extent(seen, 160) == pytest.approx([x1, y1, x2, y2], abs=2)
    assert seen.shape == image.shape and (seen == 114).all(axis=2).mean() > 0.7


def test_a_camera_adds_noise_and_blur() -> None:
    image = np.full((128, 128, 3), 128, np.uint8)
    image[:, 64:] = 200
    sharp = {"scale": [1, 1], "blur": [0, 0], "noise": [0, 0], "quality": [100, 100], "p": 1.0}
    plain, _ = Augmentation(one({"Altitude": sharp}))(image, Labels.empty())
    noisy, _ = Augmentation(one({"Altitude": {**sharp, "noise": [0.1, 0.1]}}))(image, labels())
    soft, _ = Augmentation(one({"Altitude": {**sharp, "blur": [3, 3]}}))(image, labels())
    assert abs(plain.astype(int) - image).max() <= 3
    assert noisy[:, :60].std() > 10
    assert 140 < soft[64, 62, 0] < 190


def test_boxes_under_two_pixels_are_dropped() -> None:
    boxes = labels((10, 10, 13, 30), (20, 20, 24, 24), (40, 40, 41.5, 60))
    settings = {"scale": [0.5, 0.5], "p": 1.0}
    _, found = Augmentation(one({"Altitude": settings}))(marked(boxes), boxes)
    assert found.class_id.tolist() == [1]
    _, found = Augmentation(one({"Altitude": settings}, least_side=0.5))(marked(boxes), boxes)
    assert found.class_id.tolist() == [0, 1, 2]


def test_the_same_seed_gives_the_same_pictures() -> None:
    config = load(AugmentConfig, AERIAL)
    boxes = labels((100, 100, 150, 150))
    runs = []
    for seed in (3, 3, 4):
        augmentation = Augmentation(config, seed)
        shots = [augmentation(noise(256, 256), boxes) for _ in range(6)]
        runs.append([(image.tobytes(), found.xyxy.tobytes()) for image, found in shots])
    assert runs[0] == runs[1] != runs[2]


def test_boxes_stay_inside_and_images_keep_their_form() -> None:
    augmentation = Augmentation(load(AugmentConfig, AERIAL), 0)
    boxes = labels((-5, -5, 40, 40), (200, 200, 300, 300), (50, 50, 50, 80))
    for _ in range(30):
        image, found = augmentation(noise(256, 256), boxes)
        assert image.shape == (256, 256, 3) and image.dtype == np.uint8
        assert (found.xyxy >= -0.01).all() and (found.xyxy <= 256.01).all()
        assert set(found.class_id) <= {0, 1}


def test_the_trainer_can_write_and_read_it() -> None:
    transforms = load_augmentation(AERIAL)
    again = [A.from_dict(A.to_dict(t)) for t in transforms]
    assert [repr(t) for t in again] == [repr(t) for t in transforms]
    assert type(transforms[-1]).__name__ == "DropSmall"


def test_what_fights_with_it_is_switched_off() -> None:
    settings = load(AugmentConfig, AERIAL).ultralytics
    assert set(settings) == {
        "fliplr", "flipud", "degrees", "scale", "shear", "perspective", "hsv_h", "hsv_s", "hsv_v",
    }  # fmt: skip
    assert not any(settings.values())


def test_the_wide_one_differs_in_the_change_of_scale_alone() -> None:
    aerial, wide = (
        load(AugmentConfig, AERIAL.with_name(f"augment-aerial{n}.yaml")) for n in ("", "-wide")
    )
    assert aerial.transforms == wide.transforms and aerial.least_side == wide.least_side
    assert wide.ultralytics == {**aerial.ultralytics, "scale": 0.6}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("transforms: []", "at least one transform"),
        ("transforms: [{NoSuch: {}}]", "no transform 'NoSuch'"),
        ("transforms: [{Compose: {}}]", "no transform 'Compose'"),
        ("transforms: [{from_dict: {}}]", "no transform 'from_dict'"),
        ("transforms: [{Lambda: {}}]", "no transform 'Lambda'"),
        ("transforms: [{D4: {}, Rotate: {}}]", "one 'Name: arguments'"),
        ("transforms: [{D4: 3}]", "must be 'key: value'"),
        ("transforms: [{D4: {p: high}}]", "D4 does not take these"),
        ("transforms: [{OneOf: {transforms: 3}}]", "must be a list of transforms"),
        ("transforms: [{Altitude: {scale: [0.5, 2]}}]", "scale must be between"),
        ("transforms: [{Altitude: {scale: [0.9, 0.5]}}]", "least and the greatest"),
        ("transforms: [{D4: {}}]\nextra: 1", "unknown key 'extra'"),
    ],
)
def test_a_wrong_recipe(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=why):
        load_augmentation(tmp_path / "a.yaml")


def test_a_preview(tmp_path: Path) -> None:
    content = {"train": {f"p{i}": [(i % 2, 20, 20, 60, 60)] for i in range(3)}}
    herd = make(tmp_path / "herd", content)
    augmentation = Augmentation(load(AugmentConfig, AERIAL), 0)
    assert preview(herd, augmentation, tmp_path / "sheet.png", count=2) == 2
    first = (tmp_path / "sheet.png").read_bytes()
    preview(herd, Augmentation(load(AugmentConfig, AERIAL), 0), tmp_path / "sheet.png", count=2)
    assert (tmp_path / "sheet.png").read_bytes() == first


def test_nothing_to_preview(tmp_path: Path) -> None:
    herd = make(tmp_path / "herd", {"train": {"a": []}})
    with pytest.raises(DatasetError, match="no training photo"):
        preview(herd, Augmentation(one({"D4": {"p": 1.0}})), tmp_path / "sheet.png")
