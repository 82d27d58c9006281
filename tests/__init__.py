"""The tests. What an assertion of a helper compared is shown as in a test."""

import pytest

pytest.register_assert_rewrite("tests.helpers")
