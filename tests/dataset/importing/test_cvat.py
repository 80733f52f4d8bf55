from __future__ import annotations

import zipfile

import pytest

from lib.dataset.importing import cvat as import_cvat
from lib.dataset.importing.frames import VideoFile
from tests.dataset.importing.imported import failure, number_of, objects, put_film, put_frames


def box(frame, xtl, ytl=10, xbr=None, ybr=20, outside=0, occluded=0, keyframe=1, more=""):
    xbr = xtl + 10 if xbr is None else xbr
    return (
        f'<box frame="{frame}" xtl="{xtl}" ytl="{ytl}" xbr="{xbr}" ybr="{ybr}" outside="{outside}" '
        f'occluded="{occluded}" keyframe="{keyframe}" {more}></box>'
    )


def xml(*tracks, size=6, source="a.mp4", meta="", labels=("car", "a dog")):
    """A task; each track is (id, label, boxes), each box on a line of its own."""
    names = "".join(f"<label><name>{name}</name><attributes/></label>" for name in labels)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f"<annotations><version>1.1</version><meta><task><id>3</id><name>task</name><size>{size}</size>{meta}"
        f"<owner><username>size</username></owner><labels>{names}</labels></task><source>{source}</source></meta>",
    ]
    for number, label, boxes in tracks:
        lines += [f'<track id="{number}" label="{label}" source="manual">', *boxes, "</track>"]
    return "\n".join([*lines, "</annotations>"])


def read(tmp_path, text, media=None, **options):
    path = tmp_path / "task.xml"
    path.write_text(text)
    return import_cvat.read([path], media or tmp_path / "media", **options)


def things(found):
    """{frame: [(name, left, track, occluded, generated)]} of the only video."""
    (video,) = found.videos
    return {
        frame: [(each.name, each.edges[0], each.track, each.occluded, each.generated) for each in group]
        for frame, group in sorted(video.objects.items())
    }


@pytest.fixture
def film(tmp_path):
    return put_film(tmp_path / "media" / "a.mp4", 6)


def test_keyframes_are_interpolated_by_hand(tmp_path, film):
    found = read(tmp_path, xml((5, "car", [box(0, 0), box(4, 8, occluded=1), box(5, 9, outside=1)])))
    assert things(found) == {
        0: [("car", 0, 5, False, False)],
        1: [("car", 2, 5, False, True)],
        2: [("car", 4, 5, False, True)],
        3: [("car", 6, 5, False, True)],
        4: [("car", 8, 5, True, False)],
    }


def test_outside_ends_a_track_until_its_next_keyframe(tmp_path, film):
    found = read(tmp_path, xml((5, "car", [box(0, 0), box(2, 30, outside=1), box(4, 8)])))
    # the last box before it is held, not moved towards the box that is outside; the last keyframe holds to the end
    assert {frame: group[0][1] for frame, group in things(found).items()} == {0: 0, 1: 0, 4: 8, 5: 8}


def test_boxes_that_cvat_interpolated_itself(tmp_path, film):
    found = read(tmp_path, xml((0, "car", [box(0, 0), box(1, 7, keyframe=0), box(2, 8), box(3, 8, outside=1)])))
    assert [(group[0][1], group[0][4]) for group in things(found).values()] == [(0, False), (7, True), (8, False)]


def test_the_whole_way_from_film_to_dataset(tmp_path, film, capsys):
    put_film(tmp_path / "media" / "b.mp4", 3)
    (tmp_path / "one.xml").write_text(xml((1, "car", [box(0, 4.25, 3, 20.75, 30.5)])))
    (tmp_path / "two.xml").write_text(xml((0, "a dog", [box(1, 4)]), size=3, source="C:\\films\\b.mp4"))
    (tmp_path / "val.txt").write_text("two.mp4\n")  # with or without the suffix
    import_cvat.main([
        *("--xml", str(tmp_path / "one.xml"), str(tmp_path / "two.xml"), "--media", str(tmp_path / "media")),
        *("--out", str(tmp_path / "out"), "--val-videos", str(tmp_path / "val.txt")),
    ])  # fmt: skip
    # edges of continuous pixels: x1 = xtl, x2 = xbr - 1
    assert objects(tmp_path / "out", "train/one")[0] == [("car", (4.25, 3, 19.75, 29.5), 1, False, False)]
    assert [len(frame) for frame in objects(tmp_path / "out", "val/two")] == [0, 1, 1]
    assert (tmp_path / "out/classes.txt").read_text().split()[::3] == ["car", "a_dog"]
    assert [number_of(tmp_path / f"out/Data/VID/train/one/{frame:06d}.JPEG") for frame in range(6)] == list(range(6))
    assert "0 faults" in capsys.readouterr().out


def test_a_part_of_a_film_in_steps(tmp_path):
    put_film(tmp_path / "media" / "a.mp4", 12)
    meta = "<start_frame>2</start_frame><stop_frame>8</stop_frame><frame_filter>step=3</frame_filter>"
    found = read(tmp_path, xml((1, "car", [box(2, 0), box(8, 6)]), size=3, meta=meta))
    assert found.videos[0].frames == VideoFile(tmp_path / "media" / "a.mp4", (2, 5, 8))
    assert {frame: group[0][1] for frame, group in things(found).items()} == {0: 0, 1: 3, 2: 6}


def test_pictures_whose_order_is_open(tmp_path):
    paths = put_frames(tmp_path / "media" / "task", 11, "f{}.png")
    text = xml((1, "car", [box(0, 0)]), size=11, source="none")
    with pytest.raises(import_cvat.InputError, match="give --order name"):
        read(tmp_path, text)
    assert list(read(tmp_path, text, order="natural").videos[0].frames.paths) == paths
    by_name = read(tmp_path, text, order="name").videos[0].frames.paths
    assert [path.name for path in by_name[:3]] == ["f0.png", "f1.png", "f10.png"]


def test_files_that_are_missing(tmp_path, film):
    with pytest.raises(import_cvat.InputError, match=r"none\.zip: no such file; give a task"):
        import_cvat.read([tmp_path / "none.zip"], tmp_path / "media")
    with pytest.raises(import_cvat.InputError, match=r"nowhere: no such folder; give the folder that contains"):
        read(tmp_path, xml(), tmp_path / "nowhere")
    put_frames(tmp_path / "media" / "task", 6)[3].unlink()
    message = r"task: 5 images, but .*task\.xml has 6 frames, numbered 0 to 5; add the missing images after 000002\.jpg"
    with pytest.raises(import_cvat.InputError, match=message):
        read(tmp_path, xml(source="none"))


def test_a_folder_of_pictures_given_directly(tmp_path):
    paths = put_frames(tmp_path / "frames", 6)
    found = read(tmp_path, xml((1, "car", [box(5, 0)])), tmp_path / "frames")
    assert list(found.videos[0].frames.paths) == paths and list(things(found)) == [5]


def test_a_turned_box_gives_its_upright_hull(tmp_path, film):
    found = read(tmp_path, xml((1, "car", [box(0, 10, 10, 30, 20, more='rotation="90"'), box(1, 0, outside=1)])))
    assert found.videos[0].objects[0][0].edges == pytest.approx((15, 5, 25, 25))


def test_shapes_that_are_no_boxes_are_counted(tmp_path, film):
    polygon = '<polygon frame="0" outside="0" points="1,1;2,2;1,2"/>'
    found = read(tmp_path, xml((1, "car", [polygon, polygon.replace('outside="0"', 'outside="1"')])))
    assert not found.videos[0].objects and found.dropped == {import_cvat.NO_BOXES: 1}


BAD = {
    "not xml": ("<annotations>\n<track", r"task\.xml:2: broken XML"),
    "other xml": ("<html></html>", r"task\.xml:1: <html> instead of <annotations>"),
    "image": ('<annotations>\n<image id="0"/>\n<image id="0"/></annotations>', r"task\.xml:3: a second image 0"),
    "box": ('<annotations><image id="0">\n<box label=" "/></image></annotations>', r"task\.xml:2: box without a label"),
    "two tasks": (xml((0, "car", [box(0, 0)]), meta="<a/></task><task><id>4</id>"),
                  r"task\.xml:3: track without a task_id, but the file has 2 tasks"),
    "other task": (xml((0, 'car" task_id="9', [box(0, 0)]), meta="<a/></task><task><id>4</id>"),
                   r"task\.xml:3: track of task '9', which <meta> does not list"),
    "no number": (xml((1, "car", [box(0, 0), box(1, "x", xbr=4)])), r"task\.xml:5: xtl is 'x'; write a number"),
    "infinite": (xml((1, "car", [box(0, "inf", xbr=4)])), r"task\.xml:4: xtl is 'inf'"),
    "inverted": (xml((1, "car", [box(0, 9, xbr=4)])), r"task\.xml:4: inverted box 9 10 4 20"),
    "twice": (xml((1, "car", [box(0, 0), box(0, 3)])), r"task\.xml:5: a second box for frame 0 in track 1"),
    "flag": (xml((1, "car", [box(0, 0, outside=2)])), r"task\.xml:4: outside is '2'; write 0 or 1"),
    "late": (xml((1, "car", [box(6, 0)])), r"task\.xml:4: frame 6, but the task has frames 0 to 5"),
    "no label": (xml((1, "", [box(0, 0)])), r"task\.xml:3: track without a label"),
    "no film": (xml(source="other.mp4"), r"no image folder or video file named other\.mp4 or other or task in"),
    "encoding": ('<?xml version="1.0" encoding="nonsense"?><annotations/>', r"task\.xml:1: broken XML"),
    "filter": (xml(meta="<frame_filter>every=2</frame_filter>"), r"frame_filter 'every=2' is ''"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_reported_with_their_line(tmp_path, film, case):
    text, message = BAD[case]
    with pytest.raises(import_cvat.InputError, match=message) as refused:
        read(tmp_path, text)
    assert "\n" not in str(refused.value)


def test_a_film_that_is_shorter_than_its_task(tmp_path, film, capsys):
    (tmp_path / "task.xml").write_text(xml((1, "car", [box(0, 0)]), size=9))
    line = failure(
        import_cvat.main, capsys,
        "--xml", tmp_path / "task.xml", "--media", film, "--out", tmp_path / "out", "--val-share", 0,
    )  # fmt: skip
    assert "a.mp4: has 6 frames, but the annotations go up to frame 8 (from 0)" in line
    assert not list(tmp_path.glob("*out*"))


def archive(path, text, member="annotations.xml"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("images/000000.png", b"")
        file.writestr(member, text)
    return path


def test_an_archive_as_exported_by_cvat_is_named_after_its_task(tmp_path, film):
    text = xml((5, "car", [box(0, 0), box(2, 4, outside=1)]))
    path = archive(tmp_path / "task_3_annotations_2026_11_20_18_02_11_cvat for video 1.1.zip", text)
    found = import_cvat.read([path], tmp_path / "media")
    assert found.videos[0].name == "task"
    assert things(found) == {0: [("car", 0, 5, False, False)], 1: [("car", 0, 5, False, True)]}


def test_files_with_cvats_own_name_are_named_after_task_or_video(tmp_path, film):
    put_film(tmp_path / "media" / "b.mp4", 6)
    paths = [tmp_path / folder / "annotations.xml" for folder in ("one", "two")]
    for path, name, source in zip(paths, ("<name>task</name>", ""), ("a.mp4", "b.mp4")):
        path.parent.mkdir()
        path.write_text(xml((1, "car", [box(0, 0)]), source=source).replace("<name>task</name>", name))
    found = import_cvat.read(paths, tmp_path / "media")
    assert [video.name for video in found.videos] == ["task", "b"]


def test_archives_that_do_not_hold_a_task_are_refused(tmp_path, film):
    none = archive(tmp_path / "none.zip", "", member="obj_train_data/a.txt")
    message = r"none\.zip: contains 0 files named annotations\.xml; give a task"
    with pytest.raises(import_cvat.InputError, match=message):
        import_cvat.read([none], tmp_path / "media")
    bad = archive(tmp_path / "bad.zip", "<annotations>\n<track")
    with pytest.raises(import_cvat.InputError, match=r"bad\.zip:2: broken XML"):
        import_cvat.read([bad], tmp_path / "media")
    whole = archive(tmp_path / "cut.zip", xml((1, "car", [box(0, 0)])))
    data = bytearray(whole.read_bytes())
    data[len(data) // 3] ^= 255  # inside the packed XML
    whole.write_bytes(data)
    with pytest.raises(import_cvat.InputError, match=r"cut\.zip: broken archive"):
        import_cvat.read([whole], tmp_path / "media")


def test_a_class_that_looks_misspelt_is_named(tmp_path, film, caplog):
    paths = [tmp_path / f"{name}.xml" for name in ("one", "two", "three")]
    for path, label in zip(paths, ("ball", "Bal", "tree")):
        path.write_text(xml((1, label, [box(0, 0)]), labels=(label,)))
    common = ["--xml", *map(str, paths), "--media", str(tmp_path / "media"), "--val-share", "0", "--out"]
    with caplog.at_level("INFO"):
        import_cvat.main([*common, str(tmp_path / "all")])
    assert "classes ball and Bal: is one a misspelling?" in caplog.text and caplog.text.count("misspelling") == 1
    (tmp_path / "classes.txt").write_text("ball ball\n")
    with caplog.at_level("INFO"):
        import_cvat.main([*common, str(tmp_path / "one"), "--classes", str(tmp_path / "classes.txt")])
    assert "not in --classes: Bal (did you mean ball?), tree" in caplog.text
    assert "left out: 12 objects of classes that are not in the class list" in caplog.text


def test_numbered_classes_do_not_look_misspelt(tmp_path, film, caplog):
    for number in (1, 2):
        (tmp_path / f"{number}.xml").write_text(xml((1, f"ball{number}", [box(0, 0)]), labels=()))
    with caplog.at_level("INFO"):
        import_cvat.main([
            *("--xml", str(tmp_path / "1.xml"), str(tmp_path / "2.xml"), "--media", str(tmp_path / "media")),
            *("--val-share", "0", "--out", str(tmp_path / "out")),
        ])  # fmt: skip
    assert "class ball2: 6 objects" in caplog.text and "misspelling" not in caplog.text


PROJECT = """<annotations><version>1.1</version><meta><project><id>1</id><name>shop</name><labels>
<label><name>car</name></label></labels><tasks>
<task><id>7</id><name>a</name><size>3</size><start_frame>2</start_frame><frame_filter>step=2</frame_filter></task>
<task><id>8</id><name>b</name><size>4</size><start_frame>0</start_frame><source>film.mp4</source></task>
</tasks></project><dumped>today</dumped></meta>%s</annotations>"""


def test_each_task_of_a_project_is_a_video_with_its_own_frames(tmp_path):
    put_film(tmp_path / "media" / "a.mp4", 8)
    put_film(tmp_path / "media" / "film.mp4", 4)
    tracks = "".join(
        f'<track id="{number}" label="car" task_id="{task}">{"".join(boxes)}</track>'
        for number, task, boxes in ((0, 7, [box(2, 0), box(6, 8)]), (1, 8, [box(0, 5)]))
    )
    (tmp_path / "task.xml").write_text(PROJECT % tracks)
    found = import_cvat.read([tmp_path / "task.xml"], tmp_path / "media")
    assert [(video.name, video.frames.path.name, video.frames.wanted) for video in found.videos] == [
        ("a", "a.mp4", (2, 4, 6)), ("b", "film.mp4", (0, 1, 2, 3)),
    ]  # fmt: skip
    lefts = [{at: things[0].edges[0] for at, things in video.objects.items()} for video in found.videos]
    assert lefts == [{0: 0, 1: 4, 2: 8}, {0: 5, 1: 5, 2: 5, 3: 5}]
    assert found.names == ["car"]


def test_images_of_a_project_by_their_tasks(tmp_path):
    put_frames(tmp_path / "media" / "a", 8)
    put_frames(tmp_path / "media" / "b", 4)
    images = "".join(
        f'<image id="{frame}" name="frame_{frame:06d}" task_id="{task}"><box label="car" occluded="1" xtl="{left}" '
        'ytl="1" xbr="20" ybr="30"><attribute name="track_id">5</attribute></box></image>'
        for frame, task, left in ((4, 7, 1), (1, 8, 2), (2, 8, 3))
    )
    (tmp_path / "task.xml").write_text(PROJECT % images)
    first, second = import_cvat.read([tmp_path / "task.xml"], tmp_path / "media").videos
    assert [path.name for path in first.frames.paths] == ["000002.jpg", "000004.jpg", "000006.jpg"]
    assert {at: group[0].edges[0] for at, group in second.objects.items()} == {1: 2, 2: 3}
    (thing,) = first.objects[1]
    assert (thing.name, thing.edges, thing.track, thing.occluded) == ("car", (1, 1, 20, 30), 5, True)


def test_images_of_a_film_keep_the_names_of_their_files(tmp_path):
    put_frames(tmp_path / "media", 3, "p{}.jpg", first=8)  # 8, 9, 10
    text = xml(size=2).replace("</annotations>", "".join(
        f'<image id="{frame}" name="x/{name}"><box label="car" xtl="1" ytl="1" xbr="9" ybr="9"/></image>'
        for frame, name in ((0, "p10.jpg"), (1, "p9.jpg"))
    ) + "</annotations>")  # fmt: skip
    (video,) = read(tmp_path, text).videos
    assert [path.name for path in video.frames.paths] == ["p10.jpg", "p9.jpg"] and len(video.objects) == 2
    with pytest.raises(import_cvat.InputError, match="image 7, but the task has frames 0 to 1; export it again"):
        read(tmp_path, text.replace('id="1" name', 'id="7" name'), order="name")
