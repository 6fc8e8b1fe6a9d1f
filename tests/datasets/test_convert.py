import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deal_yolo.datasets.convert import (
    Converted,
    Form,
    convert,
    map_classes,
    read_class_map,
    read_source,
)
from deal_yolo.datasets.dataset import load_dataset
from deal_yolo.datasets.formats.record import Object, Record, Source
from deal_yolo.errors import ConfigError, DatasetError, OutputError
from tests.datasets.made import make, noise, write_labels, write_photo

SIZE = (200, 100)
BOX = "0 0.5 0.5 0.1 0.2\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def to_yolo(form: Form, src: Path, tmp_path: Path, every: int = 1) -> Converted:
    return convert(read_source(form, src, every), "yolo", tmp_path / "out")


def test_waid(tmp_path: Path) -> None:
    src = tmp_path / "WAID"
    for split in ("train", "valid", "test"):
        write_photo(src / "images" / split / "a.jpg", noise(*SIZE))
        write(src / "labels" / split / "a.txt", "5" + BOX[1:])
    made = to_yolo("waid", src, tmp_path)
    assert made.photos == {"train": 1, "val": 1, "test": 1}
    assert made.objects["zebra"] == 3 and "six classes" in made.notes[0]
    assert load_dataset(made.out).names[5] == "zebra"
    write(src / "classes.txt", "sheep\ncattle\n")
    with pytest.raises(DatasetError, match="a.txt, line 1: class 5, but only 2"):
        convert(read_source("waid", src), "yolo", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_bucktales_patches(tmp_path: Path) -> None:
    src = tmp_path / "BuckTales"
    for split in ("train", "val"):
        write_photo(src / split / "images" / "a.png", noise(*SIZE))
        write(src / split / "labels" / "a.txt", BOX)
    made = to_yolo("bucktales", src, tmp_path)
    assert made.photos == {"train": 1, "val": 1} and made.objects == {"blackbuck": 2}
    assert (made.out.parent / "images/val/a.png").is_file()


def tracks(path: Path, frames: int) -> None:
    lines = [f"{f},1,{10 * f},20,30,40,1,-1,1" for f in range(1, frames + 1)]
    write(path, "\n".join([*lines, "1,2,-20,-20,30,30,1,-1,1", "2,3,0,0,9,9,0,-1,1"]) + "\n")


def test_bucktales_tracks_of_a_video(tmp_path: Path) -> None:
    src = tmp_path / "BuckTales" / "train"
    src.mkdir(parents=True)
    writer = cv2.VideoWriter(str(src / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, SIZE)
    for frame in range(6):
        writer.write(np.full((SIZE[1], SIZE[0], 3), 40 * frame, np.uint8))
    writer.release()
    tracks(src / "v.txt", 6)
    made = to_yolo("bucktales", src.parent, tmp_path, every=2)
    assert made.photos == {"train": 3} and made.objects == {"blackbuck": 4}
    herd = load_dataset(made.out)
    names = [image.name for image in herd.images("train")]
    assert names == [f"v_frame_00000{i}.jpg" for i in (1, 3, 5)]
    assert [round(cv2.imread(str(i)).mean() / 40) for i in herd.images("train")] == [0, 2, 4]
    boxes = herd.labels(herd.images("train")[0]).xyxy
    np.testing.assert_allclose(boxes, [[10, 20, 40, 60], [0, 0, 10, 10]], atol=1e-3)


def test_tracks_of_frames_and_what_is_ignored(tmp_path: Path) -> None:
    for frame in range(1, 4):
        write_photo(tmp_path / f"src/s/img1/{frame:06d}.png", noise(*SIZE, frame))
    tracks(tmp_path / "src/s/gt/gt.txt", 3)
    made = to_yolo("bucktales", tmp_path / "src", tmp_path)
    assert (made.photos, made.ignored) == ({"train": 3}, 1)


def test_tracks_that_go_on_after_the_video(tmp_path: Path) -> None:
    write_photo(tmp_path / "src/s/img1/1.png", noise(*SIZE))
    tracks(tmp_path / "src/s/gt/gt.txt", 4)
    with pytest.raises(DatasetError, match="has frame 4, but .* ends at about 1"):
        to_yolo("bucktales", tmp_path / "src", tmp_path)


def test_visdrone(tmp_path: Path) -> None:
    src = tmp_path / "VisDrone2019-DET-val"
    write_photo(src / "images/a.jpg", noise(*SIZE))
    write(
        src / "annotations/a.txt",
        "10,20,30,40,1,4,0,0\n0,0,50,50,0,0,0,0,\n5,5,9,9,1,11,0,0\n1,2,3,4,0,1,1,2\n",
    )
    made = to_yolo("visdrone", src, tmp_path)
    herd = load_dataset(made.out)
    labels = herd.labels(herd.images("val")[0])
    assert herd.names[labels.class_id[0]] == "car"
    np.testing.assert_allclose(labels.xyxy[0], [10, 20, 40, 60], atol=1e-3)
    assert labels.class_id.tolist() == [3, -1, -1, 0]
    assert labels.ignore.tolist() == [False, True, True, True]


def test_visdrone_sets_in_one_folder(tmp_path: Path) -> None:
    for name in ("train", "val", "test-dev"):
        write_photo(tmp_path / f"src/VisDrone2019-DET-{name}/images/{name}.jpg", noise(*SIZE))
        write(tmp_path / f"src/VisDrone2019-DET-{name}/annotations/{name}.txt", "1,1,9,9,1,1,0,0")
    assert to_yolo("visdrone", tmp_path / "src", tmp_path).photos == {
        "train": 1, "val": 1, "test": 1,
    }  # fmt: skip


def test_voc(tmp_path: Path) -> None:
    src = tmp_path / "voc"
    write_photo(src / "JPEGImages/a.jpg", noise(*SIZE))
    write(
        src / "Annotations/a.xml",
        "<annotation><filename>a.jpg</filename><size><width>200</width><height>100</height></size>"
        "<object><name>cow</name><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>40.5</xmax>"
        "<ymax>60</ymax></bndbox></object><object><name>calf</name><difficult>1</difficult>"
        "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object>"
        "</annotation>",
    )
    write(src / "ImageSets/Main/val.txt", "a\n")
    made = to_yolo("voc", src, tmp_path)
    herd = load_dataset(made.out)
    labels = herd.labels(herd.images("val")[0])
    np.testing.assert_allclose(labels.xyxy[0], [10, 20, 40.5, 60], atol=1e-3)
    assert [herd.names[c] for c in labels.class_id] == ["cow", "calf"]
    assert labels.ignore.tolist() == [False, True]


def coco(tmp_path: Path, **changes: object) -> Path:
    src = tmp_path / "coco"
    write_photo(src / "images/a.jpg", noise(*SIZE))
    box = {"bbox": [10, 20, 30, 40], "image_id": 7, "category_id": 3}
    content = {
        "info": {"note": "[{not part of it}]"},
        "annotations": [box, {**box, "iscrowd": 1}, {**box, "category_id": 9}],
        "images": [{"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 9, "name": "calf"}, {"id": 3, "name": "cow"}],
        "licenses": [],
    }
    content = {k: v for k, v in {**content, **changes}.items() if v is not None}
    write(src / "annotations/instances_val2017.json", json.dumps(content))
    return src


def test_coco(tmp_path: Path) -> None:
    made = to_yolo("coco", coco(tmp_path), tmp_path)
    herd = load_dataset(made.out)
    assert herd.names == ("cow", "calf")
    labels = herd.labels(herd.images("val")[0])
    assert labels.class_id.tolist() == [0, 1, 0]
    assert labels.ignore.tolist() == [False, False, True]
    np.testing.assert_allclose(labels.xyxy[0], [10, 20, 40, 60], atol=1e-3)


BAD_BOX = {"bbox": [0, 0, 1], "image_id": 7, "category_id": 3}
IMAGE = {"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"annotations": [BAD_BOX]}, "annotations 1: bbox must be four numbers"),
        ({"annotations": [{**BAD_BOX, "bbox": [0, 0, math.nan, 1]}]}, "not a number"),
        ({"annotations": [{**BAD_BOX, "bbox": [0, 0, -1, 1]}]}, "below 0"),
        ({"annotations": [{**BAD_BOX, "bbox": [0, 0, 1, 1], "image_id": 8}]}, "image_id 8 is not"),
        ({"annotations": [{**BAD_BOX, "bbox": [0, 0, 1, 1], "category_id": 8}]}, "category_id 8"),
        ({"annotations": [{**BAD_BOX, "bbox": [0, 0, 1, 1], "image_id": "7"}]}, "whole number"),
        ({"annotations": [3]}, "annotations 1: not an object"),
        ({"categories": None}, "lists no categories"),
        ({"images": [IMAGE, IMAGE]}, "images 2: .*id 7 a second time"),
        ({"images": [{**IMAGE, "file_name": "../../x.jpg"}]}, "outside"),
        ({"images": [{**IMAGE, "file_name": "/etc/x.jpg"}]}, "outside"),
        ({"images": [{**IMAGE, "file_name": "b.jpg"}]}, "b.jpg, listed in .* is missing"),
        ({"images": [{**IMAGE, "file_name": "9" * 400}]}, "is missing"),
        ({"images": [{**IMAGE, "width": 100}]}, "listed as 100 x 100 px, but is 200 x 100"),
    ],
)
def test_faulty_coco_is_named_and_nothing_written(
    tmp_path: Path, changes: dict[str, object], why: str
) -> None:
    changes.setdefault("annotations", [])
    with pytest.raises(DatasetError, match=why):
        to_yolo("coco", coco(tmp_path, **changes), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["coco"]


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_a_json_cut_short(tmp_path: Path, cut: int) -> None:
    src = coco(tmp_path)
    file = src / "annotations/instances_val2017.json"
    file.write_text(file.read_text()[:-cut])
    with pytest.raises(DatasetError, match=r"val2017.json, character \d+"):
        to_yolo("coco", src, tmp_path)


@pytest.mark.parametrize(
    ("form", "files", "why"),
    [
        ("visdrone", {"images/a.jpg": "", "annotations/a.txt": "1,2,3"}, "a.txt, line 1: 3 values"),
        (
            "visdrone",
            {"images/a.jpg": "", "annotations/a.txt": "1,2,3,4,1,12,0,0"},
            "line 1: class '12'",
        ),
        ("visdrone", {"images/a.jpg": "", "annotations/b.txt": ""}, "a.txt is missing"),
        ("voc", {"a.xml": "<annotation>"}, "cannot read .*a.xml"),
        ("voc", {"a.xml": "<other/>"}, "instead of <annotation>"),
        (
            "voc",
            {"a.xml": '<!DOCTYPE a [<!ENTITY e "x">]><annotation>&e;</annotation>'},
            "document type",
        ),
        (
            "voc",
            {"a.xml": "<annotation><object><bndbox/></object></annotation>"},
            "object 1: it has no name",
        ),
        (
            "voc",
            {"a.xml": "<annotation><filename>../../x.jpg</filename>"
             "<object><name>c</name></object></annotation>"},
            "outside",
        ),
        ("bucktales", {"s/img1/a.jpg": "", "s/gt/gt.txt": "0,1,2,3,4,5,1"}, "not a frame number"),
        ("bucktales", {"s/img1/a.jpg": "", "s/gt/gt.txt": "1,1,2,3,x,5,1"}, "line 1: 'x' is not"),
        ("yolo", {"images/train/a.jpg": ""}, "no data.yaml and no classes.txt"),
        ("yolo", {"classes.txt": "cow"}, "neither images/SPLIT nor SPLIT/images"),
        (
            "yolo",
            {"classes.txt": "cow", "images/a.jpg": "", "labels/a.txt": "\n0 0.5"},
            "a.txt, line 2: 2 values",
        ),
        ("coco", {"readme.txt": ""}, "no json file"),
    ],
)  # fmt: skip
def test_faulty_sources_are_named(
    tmp_path: Path, form: Form, files: dict[str, str], why: str
) -> None:
    for name, text in files.items():
        if name.endswith(".jpg"):
            write_photo(tmp_path / "src" / name, noise(*SIZE))
        else:
            write(tmp_path / "src" / name, text)
    with pytest.raises(DatasetError, match=why):
        to_yolo(form, tmp_path / "src", tmp_path)
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.partial").exists()


def test_photos_are_copied_or_linked_as_they_are(tmp_path: Path) -> None:
    herd = make(tmp_path / "herd", {"train": {"a": []}})
    photo = herd.images("train")[0]
    for link in (False, True):
        out = tmp_path / str(link)
        convert(read_source("yolo", herd.root), "yolo", out, link=link)
        assert (out / "images/train/a.png").is_symlink() == link
        assert (out / "images/train/a.png").read_bytes() == photo.read_bytes()


def test_a_folder_in_use_is_not_touched(tmp_path: Path) -> None:
    herd = make(tmp_path / "herd", {"train": {"a": []}})
    write(tmp_path / "out" / "mine.txt", "x")
    with pytest.raises(OutputError, match="is there already"):
        convert(read_source("yolo", herd.root), "yolo", tmp_path / "out")


@pytest.mark.parametrize("suffixes", [(".png", ".jpg")])
def test_two_photos_for_one_label_file(tmp_path: Path, suffixes: tuple[str, ...]) -> None:
    for suffix in suffixes:
        write_photo(tmp_path / f"src/images/train/a{suffix}", noise(*SIZE))
    write(tmp_path / "src/classes.txt", "cow")
    with pytest.raises(DatasetError, match="share the label file train/a.txt"):
        to_yolo("yolo", tmp_path / "src", tmp_path)


def test_classes_merged_renamed_and_ignored(tmp_path: Path) -> None:
    boxes = [(i, 10.0 * i, 10.0, 10.0 * i + 9, 20.0) for i in range(4)]
    herd = make(tmp_path / "herd", {"train": {"a": boxes}}, names=("cow", "calf", "car", "dog"))
    table = write(tmp_path / "map.yaml", 'car: null\ndog: pet\n"*": animal\n')
    source = map_classes(read_source("yolo", herd.root), read_class_map(table))
    made = load_dataset(convert(source, "yolo", tmp_path / "out").out)
    labels = made.labels(made.images("train")[0])
    assert made.names == ("animal", "pet")
    assert labels.class_id.tolist() == [0, 0, 1, -1]
    assert labels.ignore.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("cow: animal", "'calf' is not in the map"),
        ('"*": animal\nsheep: x', "'sheep' is no class"),
        ("cow: null\ncalf: null", "leaves no class"),
        ("cow: 3\ncalf: x", "old name: new name"),
    ],
)
def test_a_wrong_class_map(tmp_path: Path, text: str, why: str) -> None:
    herd = make(tmp_path / "herd", {"train": {"a": []}})
    with pytest.raises(ConfigError, match=why):
        map_classes(
            read_source("yolo", herd.root), read_class_map(write(tmp_path / "m.yaml", text))
        )


side = st.floats(0, 1, width=32)
objects = st.lists(
    st.tuples(st.integers(0, 2), side, side, side, side, st.sampled_from(["", "crowd", "region"])),
    max_size=12,
)


@given(st.lists(objects, min_size=1, max_size=3), st.sampled_from(["train", "val", "test"]))
@settings(max_examples=40, deadline=None)
def test_there_and_back_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, photos: list[list[tuple]], split: str
) -> None:
    root = tmp_path_factory.mktemp("trip")
    photo = write_photo(root / "a.png", np.zeros((100, 200, 3), np.uint8))
    records = []
    for i, found in enumerate(photos):
        boxes = []
        for number, a, b, c, d, kind in found:
            (x1, x2), (y1, y2) = sorted((a * 200, b * 200)), sorted((c * 100, d * 100))
            number = -1 if kind == "region" else number
            boxes.append(Object(number, x1, y1, x2, y2, ignore=bool(kind)))
        records.append(Record(split, f"x/{i}.png", photo, SIZE, tuple(boxes)))
    names = ("cow", "calf", "dog")
    convert(Source(names, records), "yolo", root / "1", link=True)
    convert(read_source("yolo", root / "1"), "coco", root / "2", link=True)
    convert(read_source("coco", root / "2"), "yolo", root / "3", link=True)
    back = read_source("yolo", root / "3")
    assert back.names == names
    found = sorted(back.records, key=lambda r: r.name)
    assert [(r.split, r.name) for r in found] == [(r.split, r.name) for r in records]
    for before, after in zip(records, found, strict=True):
        # Files of ignored ones stand apart, so these come last.
        wanted = sorted(before.objects, key=lambda o: o.ignore)
        assert [(o.class_id, o.ignore) for o in after.objects] == [
            (o.class_id, o.ignore) for o in wanted
        ]
        for a, b in zip(after.objects, wanted, strict=True):
            np.testing.assert_allclose(
                (a.x1, a.y1, a.x2, a.y2), (b.x1, b.y1, b.x2, b.y2), atol=1e-3
            )


def test_a_large_json_does_not_fill_the_memory(tmp_path: Path) -> None:
    import tracemalloc

    from deal_yolo.datasets.formats.jsonstream import iter_members

    file = tmp_path / "big.json"
    with file.open("w") as out:
        out.write('{"annotations": [')
        for i in range(100_000):
            out.write("," * bool(i) + json.dumps({"id": i, "bbox": [1.5, 2.5, 3.5, 4.5]}))
        out.write("]}")
    tracemalloc.start()
    count = sum(1 for _ in iter_members(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100_000
    assert peak < 2 * file.stat().st_size and file.stat().st_size > 4_000_000


def test_labels_of_yolo_lists_keep_their_folders(tmp_path: Path) -> None:
    for name in ("x/1", "y/1"):
        write_photo(tmp_path / f"src/images/{name}.png", noise(*SIZE))
        write_labels(tmp_path / f"src/labels/{name}.txt", [(0, 1, 1, 9, 9)], *SIZE)
    write(tmp_path / "src/train.txt", "images/x/1.png\nimages/y/1.png\n")
    write(tmp_path / "src/data.yaml", "train: train.txt\nnames: [cow]\n")
    made = to_yolo("yolo", tmp_path / "src", tmp_path)
    assert (made.out.parent / "labels/train/y/1.txt").is_file() and made.objects == {"cow": 2}
