import json

import pytest

from training.evaluation_report.run_record import read_run_record


def line(kind, step, loss, top_1):
    return {"kind": kind, "step": step, "epoch": step / 10, "loss": loss, "top_1": top_1}


@pytest.fixture
def run(tmp_path):
    """A folder with what a run leaves."""
    lines = [line("train", step, 2 - step / 100, step / 100) for step in range(5, 45, 5)]
    lines.append(line("validation", 20, 1.5, 0.3))
    lines.append({**line("validation", 40, 1.4, 0.4), "num_examples": 7})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    (tmp_path / "flags.txt").write_text("--model_name=tiny\n--batch_size=10\n")
    (tmp_path / "best").mkdir()
    for name in ("best/model.ckpt-20", "model.ckpt-40"):
        (tmp_path / f"{name}.index").touch()
    return tmp_path


@pytest.mark.parametrize(("checkpoint", "epoch"), [("best/model.ckpt-20", 2), ("model.ckpt-40", 4)])
def test_curves_and_flags_lie_beside_the_checkpoint_or_above_the_best(run, checkpoint, epoch):
    record = read_run_record(str(run / checkpoint))
    assert [curve.name for curve in record.losses] == ["training loss", "validation loss"]
    assert [curve.name for curve in record.accuracies] == ["training top-1", "validation top-1"]
    assert record.losses[1].epochs == [2, 4]
    assert record.losses[1].values == [1.5, 1.4]
    assert record.epoch == epoch
    assert record.flags == ["--model_name=tiny", "--batch_size=10"]
    assert not record.remarks


def test_weights_from_elsewhere_have_no_curves_of_the_run_that_they_lie_beside(run):
    (run / "alexnet-20.pth").touch()
    record = read_run_record(str(run / "alexnet-20.pth"))
    assert (record.losses, record.flags, record.epoch) == ([], [], None)
    assert record.remarks[0].startswith("It is no checkpoint of a training run here")


def test_what_is_not_there_is_said(run):
    (run / "flags.txt").unlink()
    (run / "metrics.jsonl").unlink()
    record = read_run_record(str(run / "model.ckpt-40"))
    assert not record.losses
    assert not record.flags
    assert record.epoch is None
    assert [remark.partition(":")[0] for remark in record.remarks] == [
        "The flags of its training are not there",
        "Its training curves are not there",
    ]


def test_damaged_lines_are_left_out_and_counted(run):
    path = run / "metrics.jsonl"
    whole = path.read_bytes()
    damaged = [
        *(b"\xff\xfe\n", b"[1, 2]\n", b"{}\n", b'"text"\n', b"[" * 5000 + b"\n"),
        json.dumps(line("train", 99, "high", 0.5)).encode() + b"\n",
        json.dumps(line("train", 99, float("nan"), 0.5)).encode() + b"\n",
    ]
    path.write_bytes(whole + b"".join(damaged) + whole[:20])  # the last line was torn
    record = read_run_record(str(run / "model.ckpt-40"))
    assert len(record.losses[0].values) == 8  # a loss that is no number leaves a gap
    assert len(record.accuracies[0].values) == 10
    (remark,) = record.remarks
    assert remark.startswith("5 lines of")
    assert "metrics.jsonl cannot be read" in remark


def test_a_file_of_something_else_has_no_curves(run):
    (run / "metrics.jsonl").write_bytes(b"\0\1\2\n" * 3)
    (run / "flags.txt").write_bytes(b"--a=\xff\n")
    record = read_run_record(str(run / "model.ckpt-40"))
    assert not record.losses
    assert record.remarks[-1] == "So its training curves are not there."
    assert record.flags == ["--a=\ufffd"]


def test_long_curves_are_thinned_by_means(run):
    lines = [line("train", step, step, 0.5) for step in range(10_000)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    (curve,) = read_run_record(str(run / "model.ckpt-40")).losses
    assert len(curve.values) == 500
    assert curve.values[0] == sum(range(20)) / 20
    assert sum(curve.values) / 500 == pytest.approx(4999.5)
