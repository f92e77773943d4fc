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
    assert again.fit_to_data() == ""
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
    assert other.epoch_before == 2.4
    assert said in other.fit_to_data()
    assert other.place == place
    assert other.fit_to_data() == ""


def test_at_the_end_of_an_epoch_nothing_comes_twice():
    progress = Progress(10)
    progress.advance(20)
    assert "twice" not in taken_up(progress, 20).fit_to_data()
    progress.advance(1)
    assert "some may come twice" in taken_up(progress, 20).fit_to_data()


def test_a_checkpoint_that_does_not_say_it_is_told():
    progress = Progress(10)
    progress.assume(35)
    assert progress.place == (3, 5)
