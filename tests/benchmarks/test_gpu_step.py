"""The small mode, which a machine without a GPU has, and what is planned for one with a GPU."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from slimzoo import environment
from workloads import LeftOutError

TINY = ("--models=cifarnet", "--batch_sizes=2", "--runs=1", "--steps=1", "--seconds=0")


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(environment, "has_gpu", lambda: False)


@pytest.mark.slow
def test_the_small_mode_measures_both_forms_and_tells_where_the_time_goes(
    run_here, check_figures, without_gpu
):
    report, table = run_here("gpu_step.py", *TINY, "--precisions=float32")
    assert report["small_mode"]
    assert "nothing of their speed on a GPU" in table
    assert [row["contender"] for row in report["results"]] == [
        "slimzoo, forms for a CPU",
        "slimzoo, forms for a GPU",
        "slimzoo, forms for a GPU, 2 steps a call",
        "slimzoo, forms for a GPU, from prepared records",
    ]
    *_, synthetic, _, end_to_end = report["results"]
    ratio = end_to_end["images_per_second"] / synthetic["images_per_second"]
    assert end_to_end["to_synthetic"]["ratio"] == pytest.approx(ratio)
    for row in report["results"]:
        check_figures(row, "images_per_second", 1)
        assert row["batch_size"] == 2
        assert row["share_of_matrix_product"] > 0
    [ceiling] = report["ceilings"]
    assert ceiling["matrix_product_gflops"] > 1
    assert [profile["form"] for profile in report["profiles"]] == ["CPU", "GPU"]
    for profile in report["profiles"]:
        times = {row["class"]: row["milliseconds"] for row in profile["classes"]}
        assert times["convolution"] > 0
        assert times["response normalisation"] > 0
        assert times["update"] > 0
        # What no class knows is small operations; threads may be busy at once.
        assert sum(times.values()) >= profile["milliseconds"] * 0.999
    assert report["left_out"] == []
    assert report["published"]["rows"][0]["images_per_second"] == 2987


def test_what_there_is_no_time_for_is_left_out(start_here, without_gpu):
    status, output, errors = start_here("gpu_step.py", *TINY, "--minutes=0")
    assert status == 1
    assert not output
    assert "Nothing was measured: there was no time for it within --minutes=0." in errors


def test_a_batch_size_that_is_none_is_refused(start_here):
    status, _, errors = start_here("gpu_step.py", "--batch_sizes=256,none")
    assert status == 1
    assert "takes numbers greater than 0." in errors


@pytest.fixture
def planned(benchmark_module, monkeypatch):
    """What would be measured on a GPU, by model, precision and batch size."""
    monkeypatch.setattr(environment, "has_gpu", lambda: True)
    gpu_step = benchmark_module("gpu_step")
    gpu_step.flags.FLAGS(["gpu_step.py", "--peers=pytorch:compiled_cuda_graphs"])
    plan = {}
    for setting in gpu_step._settings(True):
        contenders, left_out = gpu_step._contenders(setting, True)
        names = [one.name for one in [*contenders, *(one.contender for one in left_out)]]
        plan[tuple(setting.label.values())] = names
        ours = [one for one in contenders if one.name.startswith("slimzoo")]
        assert all(one.arguments["needs_gpu"] for one in ours)
    return plan


def test_on_a_gpu_every_variant_is_planned(planned):
    assert list(planned) == [
        *(("alexnet", precision, 256) for precision in ("bfloat16", "float32", "float16")),
        *(("alexnet", "bfloat16", batch_size) for batch_size in (512, 1024)),
    ]
    for (_, precision, batch_size), names in planned.items():
        forms = ("CPU", "GPU") if batch_size == 256 else ("GPU",)
        variants = [
            f"slimzoo, forms for a {form}{variant}"
            for form in forms
            for variant in ("", ", XLA", ", channels last")
            if precision == "float32" or variant != ", channels last"
        ]
        if (precision, batch_size) == ("bfloat16", 256):
            variants += [
                "slimzoo, forms for a GPU, 10 steps a call",
                "slimzoo, forms for a GPU, from prepared records",
            ]
        assert [name for name in names if name.startswith("slimzoo")] == variants
        assert "pytorch compiled_cuda_graphs" in names
        assert ("memory copy" in names) == (batch_size == 256)


def test_without_the_gpu_that_is_needed_a_contender_is_left_out(benchmark_module):
    our_networks = benchmark_module("our_networks")
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees a GPU.")
    with pytest.raises(LeftOutError, match="sees no GPU"):
        our_networks.training_step("alexnet", "float32", 2, 1, needs_gpu=True)


def test_xla_is_not_asked_for_a_step_of_several_devices(benchmark_module):
    our_networks = benchmark_module("our_networks")
    with pytest.raises(ValueError, match="step of one device"):
        our_networks.Trainer("cifarnet", "float32", 4, xla=True, num_replicas=2, hybrid_scheme="a")


@pytest.mark.slow
def test_several_steps_a_call_are_all_taken(benchmark_module):
    our_networks = benchmark_module("our_networks")
    changed = []
    for together in (1, 2):
        keras.utils.set_random_seed(0)
        trainer = our_networks.Trainer(
            "cifarnet_18pct", "float32", 4, "GPU", steps_per_call=together
        )
        batch = trainer.synthetic_batch()
        variable = trainer.network_fn.variables["cifarnet_18pct/conv1/weights"]
        initial = variable.numpy()
        if together == 1:
            trainer.take_step(batch)
            trainer.take_step(batch)
        else:
            trainer.take_steps([batch, batch])
        trainer.finish()
        changed.append(variable.numpy() - initial)
    largest = np.abs(changed[0]).max()
    assert largest > 0
    np.testing.assert_allclose(changed[1], changed[0], rtol=0, atol=1e-3 * largest)
    with pytest.raises(ValueError, match="3 steps cannot be taken 2 at a time"):
        our_networks.training_step("cifarnet_18pct", "float32", 4, 3, steps_per_call=2)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_step_that_xla_compiles_whole_changes_the_weights_as_the_others_do(
    benchmark_module, precision
):
    our_networks = benchmark_module("our_networks")
    keras.utils.set_random_seed(0)
    changed = []
    initial = None
    for options in ({"form": "CPU"}, {"form": "GPU"}, {"form": "GPU", "xla": True}):
        trainer = our_networks.Trainer("cifarnet_18pct", precision, 4, **options)
        variables = trainer.network_fn.variables
        initial = initial or {name: value.numpy() for name, value in variables.items()}
        for name, value in initial.items():
            variables[name].assign(value)
        trainer.take_step(trainer.synthetic_batch())
        trainer.finish()
        changed.append({name: variables[name].numpy() - value for name, value in initial.items()})
    # Of the largest change; with eight other seeds float16 came to 5%.
    tolerance = 1e-4 if precision == "float32" else 0.1
    for name, change in changed[0].items():
        largest = np.abs(change).max()
        assert largest > 0
        # A step is so small that the last bit of a weight counts.
        atol = tolerance * largest + np.spacing(np.abs(initial[name]).max())
        for other in changed[1:]:
            np.testing.assert_allclose(other[name], change, rtol=0, atol=atol, err_msg=name)
