"""The list of mutations fits the code: `make mutate` itself takes too long for every change."""

from __future__ import annotations

from collections import Counter

from tests.mutation.listing import ROOT, mutations


def test_each_mutation_changes_one_place_and_names_tests_that_exist() -> None:
    """No mutation went stale: its line is in its file once, its tests are there, and its name is its own."""
    listed = list(mutations())
    assert len(listed) >= 60
    assert [name for name, times in Counter(mutation.name for mutation in listed).items() if times > 1] == []

    for mutation in listed:
        assert mutation.damaged(ROOT) != (ROOT / mutation.file).read_text(encoding="utf-8")
        assert mutation.tests, mutation.name
        for test in mutation.tests:
            path, *names = test.split("::")
            assert (ROOT / path).exists(), test
            assert all(f"def {name.partition('[')[0]}(" in (ROOT / path).read_text() for name in names), test
