import pytest

from training.hybrid.schemes import SCHEMES, HybridSettings, check_hybrid, passes


def test_in_a_all_images_pass_at_once():
    assert passes("a", 2, 6) == [[(0, 0, 6), (1, 0, 6)]]


def test_in_b_those_of_one_device_pass_after_those_of_another():
    assert passes("b", 3, 6) == [[(0, 0, 6)], [(1, 0, 6)], [(2, 0, 6)]]


def test_in_c_a_share_of_every_device_passes_at_a_time():
    assert passes("c", 2, 6) == [[(0, 0, 3), (1, 0, 3)], [(0, 3, 6), (1, 3, 6)]]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_image_passes_once(scheme):
    rows = [
        (one.device, row)
        for together in passes(scheme, 4, 8)
        for one in together
        for row in range(one.start, one.stop)
    ]
    assert sorted(rows) == [(device, row) for device in range(4) for row in range(8)]


@pytest.mark.parametrize(
    ("settings", "num_devices", "message"),
    [
        ({"hybrid_scheme": "z"}, 2, "Unknown --hybrid_scheme 'z'.* Known: a, b, c"),
        ({}, 1, "is for two devices or more, and here is one"),
        (
            {"hybrid_scheme": "c"},
            8,
            "has 4 of each; --batch_size must be a multiple of 64: 64",
        ),
        (
            {"fc_updates_per_step": 2},
            2,
            "on 2 devices images .* once in a step. The schemes b and c take 1, 2, and a takes 1",
        ),
        (
            {"hybrid_scheme": "b", "fc_updates_per_step": 3},
            4,
            "4 times in a step. The schemes b and c take 1, 2, 4,",
        ),
        (
            {"hybrid_scheme": "b", "fc_updates_per_step": 0},
            4,
            "4 times in a step. The schemes b and c take 1, 2, 4,",
        ),
    ],
)
def test_what_cannot_be_shared_is_said(settings, num_devices, message):
    with pytest.raises(ValueError, match=message):
        check_hybrid(HybridSettings(**settings), 32, num_devices)


def test_what_can_be_shared_passes():
    for updates in (1, 2, 4):
        check_hybrid(HybridSettings(hybrid_scheme="c", fc_updates_per_step=updates), 32, 4)
