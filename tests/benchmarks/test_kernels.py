"""Kernels by class: names as PyTorch 2.11 gave them on an H100."""

import pytest

from benchmarks.kernels import REST, kernel_class


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nvjet_sm90_tst_128x128_64x6_2x1_v_bz_TNT", "products"),
        ("void cusparse::csrmm_v2_kernel<...>", "sparse products"),
        ("fmha_cutlassB_bf16_aligned_64x64_k64_dropout_sm80", "attention, softmax"),
        ("void at::native::(anonymous namespace)::fused_dropout_kernel_vec<...>", "dropout"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add>", REST),
        ("Memcpy HtoD (Pinned -> Device)", "copies and casts"),
    ],
)
def test_class_by_name(name: str, kind: str) -> None:
    assert kernel_class(name) == kind
