from __future__ import annotations

import cv2
import pytest

from lib.dataset.importing import yolo as import_yolo
from tests.dataset.importing.imported import HEIGHT, WIDTH, failure, number_of, objects, picture, put_film, put_frames


@pytest.fixture
def data(tmp_path):
    """Two videos of two frames, texts in a folder beside."""
    put_frames(tmp_path / "images" / "a", 2)
    put_frames(tmp_path / "images" / "b", 2)
    for name in ("a", "b"):
        (tmp_path / "labels" / name).mkdir(parents=True)
    (tmp_path / "classes.txt").write_text("person\ntraffic light\n")
    put_text(tmp_path, "a/000000", "1 0.5 0.5 0.25 0.5 3", "0 0.25 0.25 0.5 0.5 9")
    put_text(tmp_path, "a/000001", "1 0.5 0.5 0.25 0.5 0.87 3")  # with a confidence
    put_text(tmp_path, "b/000001", "1 0.5 0.5 0.25 0.5")
    return tmp_path


def put_text(root, name, *lines):
    path = root / "labels" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def arguments(root, *more):
    given = ["--media", root / "images", "--labels", root / "labels", "--names", root / "classes.txt"]
    return [str(each) for each in [*given, "--out", root / "out", *more]]


def test_boxes_by_hand(data, capsys):
    (data / "val.txt").write_text("b\n")
    import_yolo.main(arguments(data, "--val-videos", data / "val.txt"))
    # 64 x 48: centre 32, 24 and size 16 x 24 are the edges 24, 12, 40, 36 and the inclusive pixels 24, 12, 39, 35
    light, person = ("traffic_light", (24, 12, 39, 35), 3, False, False), ("person", (0, 0, 31, 23), 9, False, False)
    assert objects(data / "out", "train/a") == [[light, person], [light]]
    assert objects(data / "out", "val/b") == [[], [("traffic_light", (24, 12, 39, 35), 0, False, False)]]
    assert "0 faults" in capsys.readouterr().out


def test_texts_beside_the_pictures(data):
    for path in (data / "labels").rglob("*.txt"):
        path.rename(data / "images" / path.relative_to(data / "labels"))
    (data / "images/a/classes.txt").write_text("person\n")  # as labelling tools leave it there
    import_yolo.main([each for each in arguments(data) if each not in ("--labels", str(data / "labels"))])
    assert sum(len(frame) for split in ("train", "val") for video in "ab"
               for frame in objects(data / "out", f"{split}/{video}")) == 4  # fmt: skip


def test_a_film_whose_texts_are_numbered(data):
    put_film(data / "images" / "c.mp4", 4)
    put_text(data, "c/c_2", "0 0.5 0.5 0.25 0.5 1")
    put_text(data, "c_4", "0 0.5 0.5 0.25 0.5 1")  # as some tools write it
    (data / "val.txt").write_text("c")
    import_yolo.main(arguments(data, "--val-videos", data / "val.txt"))
    assert [len(frame) for frame in objects(data / "out", "val/c")] == [0, 1, 0, 1]
    assert [number_of(data / f"out/Data/VID/val/c/{frame:06d}.JPEG") for frame in range(4)] == [0, 1, 2, 3]
    put_text(data, "c/c_0", "0 0.5 0.5 0.25 0.5 1")
    with pytest.raises(import_yolo.InputError, match=r"c_0\.txt: comes before frame 1 of .*c\.mp4; give --first-frame"):
        import_yolo.read(data / "images", data / "labels", ["a", "b"], first_frame=1)
    found = import_yolo.read(data / "images", data / "labels", ["a", "b"])  # from 0, since there is a frame 0
    assert sorted(found.videos[2].objects) == [0, 2, 4]


@pytest.mark.parametrize("first", [0, 1])
def test_labels_of_a_film_for_its_images(data, first, caplog):
    for path in (data / "labels" / "a").iterdir():
        path.unlink()
    for frame, cls in ((first, 0), (first + 1, 1), (first + 2, 0)):  # the last has no image
        put_text(data, f"a/film_{frame}", f"{cls} 0.5 0.5 0.25 0.5")
    found = import_yolo.read(data / "images", data / "labels", ["person", "light"])
    assert {at: things[0].name for at, things in found.videos[0].objects.items()} == {0: "person", 1: "light"}
    assert found.dropped == {"label files of images that are not there": 1}
    assert f"no image for 1 label files, the first is film_{first + 2}.txt" in caplog.text


def test_labels_without_an_image_are_counted(data, caplog):
    put_text(data, "a/000007", "0 0.5 0.5 0.25 0.5")
    with caplog.at_level("INFO"):
        import_yolo.main(arguments(data))
    assert "left out: 1 label files of images that are not there" in caplog.text
    assert "with 4 frames, 4 objects, 3 tracks, 1 left out" in caplog.text


@pytest.mark.parametrize("name, text", [
    ("data.yaml", "names: [person, traffic light]"),
    ("data.yml", "names:\n  1: traffic light\n  0: person\n"),
    ("obj.names", "person\n\ntraffic light\n"),
])  # fmt: skip
def test_names(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert import_yolo.read_names(tmp_path / name) == ["person", "traffic light"]


@pytest.mark.parametrize("name, text", [
    ("data.yaml", "nc: 2"), ("data.yaml", "names: {1: a}"), ("data.yaml", "[a]"), ("a.txt", "\n"), ("data.yaml", "a: [")
])  # fmt: skip
def test_files_without_names(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(import_yolo.InputError, match=r"contains no class names|invalid YAML"):
        import_yolo.read_names(tmp_path / name)


BAD = {
    "columns": ("1 0.5 0.5 0.25", r"a/000000\.txt:2: 4 columns"),
    "outline": ("1 0.5 0.5 0.25 0.5 0.1 0.2 0.3 0.4", r"a/000000\.txt:2: 9 columns, as in a segmentation"),
    "class": ("2 0.5 0.5 0.25 0.5", r"a/000000\.txt:2: class 2 \(from 0\), but there are only 2 names"),
    "class text": ("person 0.5 0.5 0.25 0.5", r"a/000000\.txt:2: class is 'person'"),
    "pixels": ("1 32 24 16 24", r"a/000000\.txt:2: box 32 24 16 24 is not relative to the image"),
    "number": ("1 0.5 x 0.25 0.5", r"a/000000\.txt:2: a box coordinate is 'x'"),
    "confidence": ("1 0.5 0.5 0.25 0.5 0.87", r"txt:2: the track id in the last column is '0.87'"),
    "negative": ("1 0.5 0.5 -0.25 0.5", r"a/000000\.txt:2: box of -16 x 24"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_lines(data, capsys, case):
    text, message = BAD[case]
    put_text(data, "a/000000", "0 0.5 0.5 0.25 0.5", text)
    with pytest.raises(import_yolo.InputError, match=message):
        import_yolo.read(data / "images", data / "labels", ["person", "light"])


def test_bad_folders(data, capsys):
    with pytest.raises(import_yolo.InputError, match="no such folder"):
        import_yolo.read(data / "none", data / "labels", ["a"])
    with pytest.raises(import_yolo.InputError, match="contains no images or video files"):
        import_yolo.read(data / "labels", data / "labels", ["a"])
    with pytest.raises(import_yolo.InputError, match="no objects for the videos"):
        import_yolo.read(data / "images", data, ["a"])


@pytest.mark.parametrize("how", ["symlink", "hardlink", "copy", "encode"])
def test_how_pictures_get_there(data, how):
    import_yolo.main(arguments(data, "--pictures", how))
    (path,) = data.glob("out/Data/VID/*/a/000001.JPEG")
    original = data / "images/a/000001.jpg"
    assert path.is_symlink() == (how == "symlink")
    assert (path.stat().st_ino == original.stat().st_ino) == (how in ("symlink", "hardlink"))
    assert number_of(path) == 1
    if how != "encode":
        assert path.read_bytes() == original.read_bytes()


def test_other_pictures_are_encoded_and_turned_ones_set_upright(data):
    from PIL import Image

    for path in (data / "images/b").iterdir():
        path.unlink()
    cv2.imwrite(str(data / "images/b/000000.png"), picture(4))
    tall = picture(0, HEIGHT, WIDTH)
    tall[:24] = 250  # the upper part, which comes to lie at the right when turned by a quarter
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(tall).save(data / "images/b/000001.jpg", exif=exif, quality=95)
    import_yolo.main(arguments(data))
    (folder,) = data.glob("out/Data/VID/*/b")
    assert number_of(folder / "000000.JPEG") == 4
    turned = cv2.imread(str(folder / "000001.JPEG"), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert turned.shape == (HEIGHT, WIDTH, 3)
    assert turned[:, -20:].min() > 200 and turned[:, :30].max() < 50
    # the box of b/000001 is relative to the upright image
    assert [frame for frame in objects(data / "out", f"{folder.parent.name}/b")][1][0][1] == (24, 12, 39, 35)


def test_broken_pictures_are_named(data, capsys):
    path = data / "images/a/000001.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    assert "a/000001.jpg: broken JPEG header" in failure(import_yolo.main, capsys, *arguments(data))
    path.write_bytes(b"no picture")
    assert "a/000001.jpg: not a readable image" in failure(import_yolo.main, capsys, *arguments(data))
    path.unlink()
    png = cv2.imencode(".png", picture(1))[1].tobytes()
    path.with_suffix(".png").write_bytes(png[:-20])
    assert "a/000001.png: truncated image" in failure(import_yolo.main, capsys, *arguments(data))


def test_the_share_held_out_is_drawn_by_seed(data):
    drawn = set()
    for seed in range(6):
        import_yolo.main([*arguments(data)[:-1], str(data / f"out{seed}"), "--seed", str(seed)])
        drawn.add(tuple(sorted(path.name for path in (data / f"out{seed}/Data/VID/val").iterdir())))
    assert drawn == {("a",), ("b",)}


@pytest.mark.parametrize("share", [-0.1, 1, 1.5])
def test_shares_that_cannot_be(data, capsys, share):
    assert "--val-share" in failure(import_yolo.main, capsys, *arguments(data, "--val-share", share))


def test_lists_of_videos_to_hold_out(data, capsys):
    (data / "val.txt").write_text("\nc\n")
    line = failure(import_yolo.main, capsys, *arguments(data, "--val-videos", data / "val.txt"))
    assert "val.txt:2: no video 'c'; the videos include a, b" in line
    (data / "val.txt").write_text("a\nb\n")
    line = failure(import_yolo.main, capsys, *arguments(data, "--val-videos", data / "val.txt"))
    assert "val.txt: lists every video" in line
