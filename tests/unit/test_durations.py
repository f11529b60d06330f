"""Histograms of durations, without a server."""

from __future__ import annotations

import pytest

from shared.store.reading.durations import LAST_BUCKET, Durations, Histogram, bucket_of


@pytest.mark.parametrize("ms", [1, 10, 250, 2000, 30_000, 3_600_000, 600_000_000])
def test_a_percentile_is_right_to_a_fifth_whatever_the_size(ms: int) -> None:
    """One time, counted a hundred times, is every percentile."""
    histogram = Histogram({bucket_of(ms): 100})
    for share in (0.01, 0.5, 0.95, 1.0):
        found = histogram.percentile_ms(share)
        assert found is not None
        assert ms * 0.84 - 1 <= found <= ms * 1.19 + 1


def test_percentiles_tell_the_many_from_the_few() -> None:
    """Ninety fast jobs and ten slow ones: p50 is of the fast, p95 of the slow."""
    histogram = Histogram({bucket_of(100): 90, bucket_of(60_000): 10})
    p50, p95 = histogram.percentile_ms(0.5), histogram.percentile_ms(0.95)
    assert p50 == pytest.approx(100, rel=0.2)
    assert p95 == pytest.approx(60_000, rel=0.2)


def test_no_job_has_no_percentile() -> None:
    """Nothing is known of an hour without an end."""
    assert Durations().waited.percentile_ms(0.5) is None


def test_every_time_has_a_bucket() -> None:
    """Also one that no job can last."""
    assert bucket_of(0) == 0
    assert bucket_of(10**15) == LAST_BUCKET


def test_damaged_sums_count_as_none() -> None:
    """Text that is no sum is passed over, the rest counts."""
    found = Durations()
    found.add_packed(b"w3=4 r x=1 r5= r7=2 \xff w999=1")
    assert dict(found.waited) == {3: 4, LAST_BUCKET: 1}
    assert dict(found.ran) == {7: 2}
