"""Whatever a file holds, reading it ends in a value or in an error of this package."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deal_yolo.config import load
from deal_yolo.datasets import convert
from deal_yolo.datasets.augment import AugmentConfig
from deal_yolo.datasets.dataset import Dataset, load_dataset, read_data_config
from deal_yolo.datasets.formats import mot, visdrone
from deal_yolo.datasets.formats.jsonstream import iter_members
from deal_yolo.datasets.images import image_size, read_image
from deal_yolo.datasets.labels import read_rows
from deal_yolo.datasets.seen import look
from deal_yolo.datasets.tile import read_manifest
from deal_yolo.errors import DealYoloError
from tests.datasets.made import noise, write_photo

BREAKERS = [
    b"", b"\x00", b"\xff", b"\n", b"nan", b"inf", b"1e999", b"-1", b"9" * 400, b'"', b"{", b"}",
    b"[" * 50, b",", b"null", b"true", b"../", b"<", b"&amp;", b"\xef\xbb\xbf", b"\x85", b"\x0c",
    b"!!python/object:os.system", b"&a [*a]", b": ", b"\xe2\x80\xa8", b"_", b"0x10",
]  # fmt: skip


@st.composite
def broken(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A well-formed file in which some places are overwritten, cut out or repeated."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        piece = draw(
            st.sampled_from(BREAKERS) | st.binary(max_size=6) | st.just(data[start:end] * 3)
        )
        data = data[:start] + piece + data[end:]
    return data


def survives(read: Callable[[], object]) -> None:
    with contextlib.suppress(DealYoloError):
        read()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    write_photo(folder / "images/a.jpg", noise(20, 10))
    return folder


def stored(suffix: str) -> bytes:
    return cv2.imencode(suffix, noise(24, 16))[1].tobytes()


@given(data=broken([b"0 0.5 0.5 0.1 0.1\n1 0.1 0.2 0.3 0.4 0.5 0.6\n"]))
@settings(deadline=None)
def test_yolo_labels(place: Path, data: bytes) -> None:
    (place / "a.txt").write_bytes(data)
    survives(lambda: read_rows(place / "a.txt"))


@given(data=broken([b"1,2,3,4,1,4,0,0\n5,6,7,8,0,0,0,0,\n"]))
@settings(deadline=None)
def test_visdrone(place: Path, data: bytes) -> None:
    line = data.decode("utf-8", "replace")
    survives(lambda: visdrone.parse_line(line, "here"))


@given(data=broken([b"1,2,3.5,4,5,6,1,-1,1\n", b"1\t2\t3\t4\t5\t6"]))
@settings(deadline=None)
def test_mot(place: Path, data: bytes) -> None:
    line = data.decode("utf-8", "replace")
    survives(lambda: mot.parse_line(line, "here"))


COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 20, "height": 10}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3.5, 4], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "iscrowd": 1},
    ],
    "categories": [{"id": 1, "name": "cow"}],
}


def read_all(form: convert.Form, src: Path) -> None:
    for record in convert.read_source(form, src).records:
        assert record.size[0] > 0


@given(data=broken([json.dumps(COCO).encode()]))
@settings(deadline=None)
def test_coco(place: Path, data: bytes) -> None:
    (place / "coco.json").write_bytes(data)
    survives(lambda: read_all("coco", place / "coco.json"))


leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
anything = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner)
)


@given(content=anything, key=st.sampled_from(list(COCO)), data=st.data())
@settings(deadline=None)
def test_coco_of_wrong_types(place: Path, content: object, key: str, data: st.DataObject) -> None:
    changed = json.loads(json.dumps(COCO))
    field = data.draw(st.sampled_from([None, *changed[key][0]]))
    if field is None:
        changed[key] = content
    else:
        changed[key][0][field] = content
    (place / "types.json").write_text(json.dumps(changed))
    survives(lambda: read_all("coco", place / "types.json"))


@given(content=st.dictionaries(st.text(max_size=5), anything))
@settings(deadline=None)
def test_a_json_is_read_as_the_library_reads_it(place: Path, content: dict[str, object]) -> None:
    file = place / "any.json"
    file.write_text(json.dumps(content))
    read: dict[str, object] = {k: [] for k, v in content.items() if isinstance(v, list)}
    for key, number, value in iter_members(file):
        if number:
            read[key].append(value)  # type: ignore[attr-defined]
        else:
            read[key] = value
    assert json.dumps(read, sort_keys=True) == json.dumps(content, sort_keys=True)


VOC = (
    b"<annotation><filename>a.jpg</filename><size><width>20</width><height>10</height></size>"
    b"<object><name>cow</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>"
    b"<xmax>5</xmax><ymax>6</ymax></bndbox></object></annotation>"
)


@given(data=broken([VOC]))
@settings(deadline=None)
def test_voc(place: Path, data: bytes) -> None:
    (place / "voc").mkdir(exist_ok=True)
    (place / "voc/a.xml").write_bytes(data)
    (place / "voc/a.jpg").write_bytes((place / "images/a.jpg").read_bytes())
    survives(lambda: read_all("voc", place / "voc"))


YAML = (
    b"path: .\ntrain: images\nval: images\nnames: {0: cow, 1: calf}\nnc: 2\n"
    b"tile: {size: 640, scales: [1.0, 0.5], overlap: 0.2}\nlicence: free\n"
)


def use(dataset: Dataset) -> None:
    for split in dataset.splits:
        for image in dataset.images(split):
            assert image.is_relative_to(dataset.root)
            dataset.labels(image)


@given(data=broken([YAML, b"train: list.txt\nnames: [cow, calf]\n"]))
@settings(deadline=None)
def test_data_yaml(place: Path, data: bytes) -> None:
    (place / "data.yaml").write_bytes(data)
    survives(lambda: read_data_config(place / "data.yaml"))
    survives(lambda: use(load_dataset(place / "data.yaml")))


@given(data=broken([b"images/a.jpg\n./images/a.jpg\n", b"/etc/passwd\n../a.jpg\n"]))
@settings(deadline=None)
def test_list_of_photos(place: Path, data: bytes) -> None:
    (place / "list.txt").write_bytes(data)
    (place / "list.yaml").write_text("train: list.txt\nnames: [cow, calf]\n")
    survives(lambda: use(load_dataset(place / "list.yaml")))


@given(data=broken([b'cow: animal\n"*": null\n']))
@settings(deadline=None)
def test_class_map(place: Path, data: bytes) -> None:
    (place / "map.yaml").write_bytes(data)
    survives(lambda: convert.read_class_map(place / "map.yaml"))


@given(data=broken([b"transforms:\n- D4: {p: 1.0}\nleast_side: 2\n"]))
@settings(deadline=None)
def test_augmentation(place: Path, data: bytes) -> None:
    (place / "augment.yaml").write_bytes(data)
    survives(lambda: load(AugmentConfig, place / "augment.yaml"))


MANIFEST = (
    b"split,window,source,scale,x1,y1,x2,y2,width,height,objects\n"
    b"train,images/train/a.jpg,a.jpg,0.5,0,0,10,10,20,10,1\n"
)


@given(data=broken([MANIFEST]))
@settings(deadline=None)
def test_manifest(place: Path, data: bytes) -> None:
    (place / "manifest.csv").write_bytes(data)
    survives(lambda: read_manifest(place))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp"])
@given(data=st.data())
@settings(deadline=None)
def test_photos(place: Path, suffix: str, data: st.DataObject) -> None:
    file = place / f"photo{suffix}"
    file.write_bytes(data.draw(broken([stored(suffix)])))
    with contextlib.redirect_stderr(io.StringIO()):
        survives(lambda: read_image(file))
        survives(lambda: image_size(file))
        survives(lambda: look(file))
