"""Bandwidth of measurements."""

from __future__ import annotations

import pytest
from pgregistry_nettest.analysis.measurements import OPS, Measurement, count


def test_bandwidths_are_those_of_nccl_tests() -> None:
    # From doc/PERFORMANCE.md: 1 GB among 4 ranks in 0.1 s.
    cases = {
        "all_reduce": (250_000_000, 10e9, 15e9),
        "all_gather": (62_500_000, 10e9, 7.5e9),
        "reduce_scatter": (62_500_000, 10e9, 7.5e9),
        "all_to_all": (62_500_000, 10e9, 7.5e9),
        "broadcast": (250_000_000, 10e9, 10e9),
        "send_recv": (250_000_000, 10e9, 10e9),
    }
    assert set(cases) == set(OPS)
    for op, (elements, algbw, busbw) in cases.items():
        assert count(op, 10**9, 4) == elements
        one = Measurement(0, op, 10**9, elements, (0, 1, 2, 3), 0.1)
        assert (one.algbw, one.busbw) == (pytest.approx(algbw), pytest.approx(busbw))
