import os

import pytest

from slimzoo.output_folders import folder_to_write, made_folder, new_folder, results_folder


def test_a_new_folder_must_not_hold_anything(tmp_path):
    assert new_folder("output_dir", str(tmp_path / "a")) == str(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    (tmp_path / "a").mkdir()
    new_folder("output_dir", str(tmp_path / "a"))
    (tmp_path / "a" / "file").write_text("kept")
    for path in (tmp_path / "a", tmp_path / "a" / "file"):
        with pytest.raises(ValueError, match=r"is not overwritten\. .* give another --output_dir"):
            new_folder("output_dir", str(path))
    assert (tmp_path / "a" / "file").read_text() == "kept"


@pytest.mark.parametrize("check", [new_folder, folder_to_write, made_folder])
def test_below_a_file_nothing_can_be_written(tmp_path, check):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ValueError, match=r"--x .*file/y cannot be written: .*file is a file"):
        check("x", str(tmp_path / "file" / "y"))


def test_a_folder_is_made_with_those_above(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert made_folder("x", "~/a/b") == str(tmp_path / "a/b")
    assert (tmp_path / "a/b").is_dir()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_forbids_it_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="no permission to write in"):
        made_folder("x", str(tmp_path / "a"))


def test_what_is_made_of_a_checkpoint_lies_beside_it_but_not_in_the_cache(zoo_folder):
    assert results_folder("runs/mine/best/model.ckpt-7") == "runs/mine/best"
    assert results_folder("alexnet.pth") == ""
    assert results_folder(str(zoo_folder / "vgg_16" / "vgg_16.ckpt")) == "runs/vgg_16"
    assert results_folder(str(zoo_folder / "mine" / "vgg_16.ckpt")) == str(zoo_folder / "mine")
