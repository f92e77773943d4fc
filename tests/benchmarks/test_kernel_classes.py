"""Kernels by the names that the libraries give them; a profile's times by hand."""

import pytest

from kernel_classes import CLASSES, Event, kernel_class, read_events, summarize

SWAP = "void tensorflow::functor::SwapDimension1And2InTensor3UsingTiles<unsigned int, 1024, 1024>"
HOPPER = "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64"
CONVERSION = "void Eigen::internal::EigenMetaKernel<...TensorConversionOp<Eigen::bfloat16, float..."
RELU = "void Eigen::internal::EigenMetaKernel<...scalar_max_op<Eigen::bfloat16, ..."


@pytest.mark.parametrize(
    ("name", "operation", "module", "expected"),
    [
        (HOPPER, "functional/conv2/Conv2D:Conv2D", "", "convolution"),
        (HOPPER.replace("fprop", "wgrad"), "", "", "convolution"),
        ("volta_sgemm_128x64_nn", "functional/conv2/Conv2D:Conv2D", "", "convolution"),
        ("nvjet_hsh_256x128_64x4_1x2_h_bz_coopA_NNT", "fc6/MatMul:MatMul", "", "matrix product"),
        ("sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n", "", "", "matrix product"),
        ("gemm_fusion_dot_14", "", "a_inference__replica_step_9__.1", "matrix product"),
        (SWAP, "conv2/Conv2D-0-TransposeNHWCToNCHW-LayoutOptimizer:Transpose", "", "layout"),
        ("void cudnn::ops::nchwToNhwcKernel<float>", "conv2/Conv2D:Conv2D", "", "layout"),
        ("loop_multiply_fusion", "", "a_inference_normalize_521__.7", "response normalisation"),
        ("loop_fusion", "", "a_inference_gradient_of_inputs_52__.7", "response normalisation"),
        ("pad_convert_fusion", "", "a_inference_pad_52__.7", "response normalisation"),
        ("loop_add_fusion", "", "a_inference__update_weights_3__.7", "update"),
        (
            "a kernel",
            "optimizer/ResourceApplyKerasMomentum:ResourceApplyKerasMomentum",
            "",
            "update",
        ),
        (CONVERSION, "functional/fc6/Cast:Cast", "", "casts"),
        (CONVERSION, "", "", "elementwise and the rest"),  # by its name it could be part of any
        (RELU, "functional/conv1/Relu:Relu", "", "elementwise and the rest"),
        ("loop_convert_fusion", "", "a_inference__replica_step_9__.1", "elementwise and the rest"),
        ("MemcpyD2D", "", "", "copies"),
        (
            "void cudnn::pooling_fw_4d_kernel<...>",
            "functional/pool1/MaxPool:MaxPool",
            "",
            "pooling",
        ),
        # On the host an event is an operation, whose name tells of its layer.
        *(
            (name, name, "", expected)
            for name, expected in (
                ("functional/conv1/Relu:_MklNativeFusedConv2D", "convolution"),
                ("functional/conv1/BiasAdd:BiasAdd", "elementwise and the rest"),
                ("functional/fc6/MatMul/pool:_MklMatMul", "matrix product"),
                ("functional/conv1/Cast:Cast", "casts"),
            )
        ),
    ],
)
def test_a_kernel_belongs_to_one_class(name, operation, module, expected):
    assert kernel_class(Event(name, operation, module, 0, 1)) == expected


def test_times_are_added_up_and_the_rest_is_idle():
    millisecond = 10**9
    events = [
        Event("MemcpyH2D", "", "", 0, 2 * millisecond),
        Event(HOPPER, "", "", millisecond, 4 * millisecond),  # while the copy still runs
        Event(HOPPER, "", "", 6 * millisecond, 10 * millisecond),
    ]
    summary = summarize(events, steps=2)
    assert summary["milliseconds"] == 5
    classes = {row["class"]: row for row in summary["classes"]}
    assert list(classes) == list(CLASSES)
    times = {name: row["milliseconds"] for name, row in classes.items() if row["milliseconds"]}
    assert times == {"convolution": 3.5, "copies": 1, "idle": 1}
    assert classes["convolution"]["share"] == 0.7
    assert summary["largest"][0] == {
        "name": HOPPER,
        "class": "convolution",
        "milliseconds": 3.5,
    }


def test_a_profile_that_is_not_there_is_a_message(tmp_path):
    with pytest.raises(ValueError, match="has written nothing into"):
        read_events(str(tmp_path), of_gpu=False)


def test_a_profile_without_kernels_is_a_message(tmp_path):
    (tmp_path / "host.xplane.pb").write_bytes(b"")
    with pytest.raises(ValueError, match="no kernel of a GPU: CUPTI"):
        read_events(str(tmp_path), of_gpu=True)
