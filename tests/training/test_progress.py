import pytest

from training.progress import Progress


def test_images_are_counted_by_epochs():
    progress = Progress(num_examples=10)
    assert (progress.place, progress.epoch) == ((0, 0), 0)
    for _ in range(3):
        progress.advance(8)
    assert progress.place == (2, 4)
    assert progress.num_taken == 24
    assert progress.epoch == 2.4


def taken_up(progress, num_examples, fingerprint=0):
    """What a run with other data makes of a checkpoint."""
    other = Progress(num_examples, fingerprint)
    other.variable.assign(progress.variable)
    return other


def test_the_same_images_are_gone_on_with_exactly():
    progress = Progress(10, fingerprint=7)
    progress.advance(24)
    again = taken_up(progress, 10, fingerprint=7)
    assert again.take_up(3) == ("", 2.4)
    assert again.place == (2, 4)


@pytest.mark.parametrize(
    ("num_examples", "fingerprint", "place", "said"),
    [
        (20, 7, (2, 8), "They are 20 now and were 10. It goes on at epoch 2.40."),
        (5, 7, (2, 2), "They are 5 now and were 10. It goes on at epoch 2.40."),
        (10, 8, (2, 4), "They are 10 as before, but not the same. It goes on at epoch 2.40."),
        (1, 7, (2, 0), "They are 1 now and were 10. It goes on at epoch 2.00."),
    ],
)
def test_other_images_are_gone_on_with_at_the_same_part_of_the_epoch(
    num_examples, fingerprint, place, said
):
    progress = Progress(10, fingerprint=7)
    progress.advance(24)
    other = taken_up(progress, num_examples, fingerprint)
    changed, epoch = other.take_up(3)
    assert said in changed
    assert epoch == 2.4
    assert other.place == place
    assert other.take_up(3)[0] == ""


def test_at_the_end_of_an_epoch_nothing_comes_twice():
    progress = Progress(10)
    progress.advance(20)
    assert "twice" not in taken_up(progress, 20).take_up(3)[0]
    progress.advance(1)
    assert "some may come twice" in taken_up(progress, 20).take_up(3)[0]


def test_of_a_checkpoint_that_counts_steps_alone_the_batch_size_tells_the_place():
    progress = Progress(10, batch_size_before=5)
    assert progress.take_up(7, lacks=("progress", "validated")) == ("", 3.5)
    assert progress.place == (3, 5)
    assert int(progress.validated) == 7
