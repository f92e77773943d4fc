import pytest


@pytest.mark.slow
def test_every_option_is_known_to_tf_data_and_measured(
    run_here, check_figures, benchmark_module, photos_folder
):
    report, table = run_here(
        "tf_data_options.py",
        *("--dataset_name=folder", f"--dataset_dir={photos_folder}"),
        *("--batch_size=2", "--runs=1", "--seconds=0"),
    )
    options = benchmark_module("tf_data_options").OPTIONS
    assert [row["options"] for row in report["results"]] == list(options)
    assert report["left_out"] == []
    assert report["images"] == "folder"
    for row in report["results"]:
        check_figures(row, "images_per_second", 1)
        assert row["options"] in table
    assert report["results"][0]["ratio"] == 1
