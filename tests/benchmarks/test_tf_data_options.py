import pytest

import tf_data_options


@pytest.mark.slow
def test_every_option_is_known_to_tf_data_and_measured(run_benchmark, check_figures):
    options = ("--batch_size=2", "--runs=1", "--seconds=0", "--num_photos=8")
    report, table = run_benchmark("tf_data_options.py", *options)
    assert [row["options"] for row in report["results"]] == list(tf_data_options.OPTIONS)
    assert report["left_out"] == []
    for row in report["results"]:
        check_figures(row, "images_per_second", 1)
        assert row["options"] in table
    assert report["results"][0]["ratio"] == 1
