import dataclasses

import pytest

from slimzoo.flags import Theme, settings
from slimzoo.optimization_flags import OptimizationFlags
from training.learning_rates import LearningRateSettings
from training.optimizers import OptimizerSettings

# What a network can have values of its own for, and what depends on the optimizer or the schedule.
NONE_UNTIL_KNOWN = {
    *("learning_rate", "weight_decay", "learning_rate_factors", "weight_decay_factors"),
    *("learning_rate_decay_factor", "opt_epsilon"),
}


@pytest.mark.parametrize("settings_class", [OptimizerSettings, LearningRateSettings])
def test_every_setting_has_a_flag_with_its_default(settings_class):
    taken, own = settings(settings_class, OptimizationFlags()), settings_class()
    for field in dataclasses.fields(settings_class):
        value, default = getattr(taken, field.name), getattr(own, field.name)
        if field.name in NONE_UNTIL_KNOWN:
            assert value is None
        else:
            assert list(value) == list(default) if isinstance(value, list) else value == default


def test_help_lists_each_under_what_it_is_about():
    for field in dataclasses.fields(OptimizationFlags):
        assert field.metadata["theme"] in (Theme.OPTIMIZER, Theme.LEARNING_RATE)
