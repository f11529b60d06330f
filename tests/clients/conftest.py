"""The whole system as processes, as in the end-to-end tests."""

from tests.e2e.conftest import StackMaker, fleet, stack

__all__ = ["StackMaker", "fleet", "stack"]
