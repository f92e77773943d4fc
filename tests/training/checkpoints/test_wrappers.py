"""Names as scripts in the wild save them; tensors themselves do not matter here."""

import pytest

from training.checkpoints.wrappers import unwrap

KNOWN = [f"{layer}/{kind}" for layer in ("conv1", "conv2", "fc3") for kind in ("weight", "bias")]
BARE = [name.replace("/", ".") for name in KNOWN]


def look(names, use_moving_average=False, known=KNOWN):
    return unwrap("a.pth", names, known, "/".join, use_moving_average)


def wrapped(pattern):
    """The bare names, each in `pattern`."""
    return [pattern.format(name) for name in BARE]


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [
        ("{}", ""),
        ("module.{}", "names without module."),
        ("_orig_mod.{}", "names without _orig_mod."),
        ("module._orig_mod.{}", "names without module._orig_mod."),
        ("_orig_mod.module.{}", "names without _orig_mod.module."),
        ("model.{}", "names without model."),
        ("net.{}", "names without net."),
        ("anything.at.all.{}", "names without anything.at.all."),
        ("model._orig_mod.backbone.{}", "names without model._orig_mod.backbone."),
        ("state_dict > {}", "under state_dict"),
        ("model > {}", "under model"),
        ("a_name_of_ones_own > {}", "under a_name_of_ones_own"),
        ("state_dict > model > module.{}", "under state_dict > model, names without module."),
        ("ema > {}", "moving averages, under ema"),
        ("averaged_model.{}", "moving averages, names without averaged_model."),
    ],
)
def test_any_wrapper_is_looked_through_and_said(pattern, taken):
    names = wrapped(pattern)
    found = look(names)
    assert found.sources == {target: [name] for target, name in zip(KNOWN, names, strict=True)}
    assert found.taken == taken
    assert not found.not_taken
    assert not found.unexpected


def test_a_wrapper_may_stand_within_names_and_around_some_of_them_only():
    """PyTorch's ImageNet script wraps AlexNet's features alone."""
    names = ["features.module.conv1.weight", "features.module.conv1.bias", "classifier.fc3.bias"]
    known = ["features/conv1/weight", "features/conv1/bias", "classifier/fc3/bias"]
    found = look(names, known=known)
    assert found.sources == {target: [name] for target, name in zip(known, names, strict=True)}
    assert found.taken == "names without module."


def test_a_layer_that_is_called_module_is_no_wrapper():
    found = look(["module.weight", "other.weight"], known=["module/weight", "other/weight"])
    assert (len(found.sources), found.taken) == (2, "")


@pytest.mark.parametrize(
    ("places", "raw", "averages"),
    [
        (("model > {}", "state_dict > {}"), "state_dict", "state_dict"),
        (("state_dict > {}", "state_dict_ema > {}"), "state_dict", "state_dict_ema"),
        (("ema > module.{}", "model > {}"), "model", "ema"),
        (("params_ema > {}", "params > {}"), "params", "params_ema"),
        (("net.{}", "net_ema.{}"), "net", "net_ema"),
        (("weights > {}", "network > {}", "net > {}"), "network", "network"),
        (("other > {}", "{}"), "conv1", "conv1"),
    ],
)
def test_of_several_the_documented_one_is_taken_and_the_others_are_said(places, raw, averages):
    names = [name for place in places for name in wrapped(place)]
    for use_moving_average, expected in ((False, raw), (True, averages)):
        found = look(names, use_moving_average)
        firsts = {name.replace(" > ", ".").split(".")[0] for [name] in found.sources.values()}
        assert expected in firsts
        assert len(found.not_taken) == len(places) - 1
        assert all("(6 variables)" in place for place in found.not_taken)
        assert not found.unexpected


@pytest.mark.parametrize("places", [("student > {}", "teacher > {}"), ("left.{}", "right.{}")])
def test_two_that_nothing_tells_apart_are_refused(places):
    names = [name for place in places for name in wrapped(place)]
    with pytest.raises(ValueError, match=r"a\.pth holds .* more than once, under .* and under"):
        look(names)


def test_the_fuller_one_is_taken_whatever_it_is_called():
    names = wrapped("other > {}") + wrapped("state_dict > {}")[:4]
    assert look(names, use_moving_average=True).taken == "under other"


def test_names_that_differ_in_wrappers_alone_are_of_one_variable():
    found = look([*BARE, "module.conv2.weight"])
    assert found.sources["conv2/weight"] == ["conv2.weight", "module.conv2.weight"]


def test_what_is_beside_the_weights_is_named_and_other_dictionaries_are_not():
    names = [*wrapped("state_dict > model.{}"), "state_dict > loss.weight", "best_accuracy"]
    assert look(names).unexpected == ["state_dict > loss.weight"]


def test_a_part_of_another_network_is_not_taken_for_this_one():
    """ResNet's blocks have a conv1 and a conv2 each, among much else."""
    block = ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.mean", "conv2.weight", "bn2.weight"]
    found = look([f"layer1.0.{name}" for name in block])
    assert not found.sources
    assert len(found.unexpected) == 6


@pytest.mark.parametrize("name", ["", "module", "module.module", " > ", "..", "/", "a > > b"])
def test_odd_names_are_none_of_the_networks(name):
    found = look([*BARE, name])
    assert len(found.sources) == 6
    assert found.taken == ""
