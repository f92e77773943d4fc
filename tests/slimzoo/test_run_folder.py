"""Whether a run may go on in a folder."""

import pytest

from slimzoo.commands.train_image_classifier import train


def test_a_train_dir_that_cannot_be_written(replaced, tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(ValueError, match="cannot be written"):
        train(replaced(train_dir=str(file)))
    assert file.read_text() == "kept"


def test_a_run_that_goes_on_with_other_flags_says_so(config, replaced, capsys):
    train(config)
    train(replaced(max_number_of_steps=9, batch_size=5))
    printed = capsys.readouterr().out
    assert "now --batch_size=5 --max_number_of_steps=9, before --batch_size=10" in printed
    train(replaced(max_number_of_steps=9, batch_size=5))
    assert "not those it ran with" not in capsys.readouterr().out


def test_another_preprocessing_under_an_old_checkpoint_is_refused(config, replaced):
    train(config)
    with pytest.raises(ValueError, match="holds a run with preprocessing_options"):
        train(replaced(preprocessing_options=["resize_side=40"]))


def test_another_network_in_the_same_train_dir_is_refused(config, replaced):
    train(config)
    with pytest.raises(ValueError, match=r"holds a run with network_options .*another --train_dir"):
        train(replaced(network_options=["dropout_keep_prob=0.9"]))
