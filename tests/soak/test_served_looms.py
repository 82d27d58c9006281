"""Two clients, the app's way of writing and one who follows, at one loom of a server, for long."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.helpers.loom_clients import LoomClients
from tests.helpers.soak_rounds import rounds

pytestmark = pytest.mark.soak
TestClients = LoomClients.TestCase
TestClients.settings = settings(
    max_examples=rounds(40), stateful_step_count=30, deadline=None, print_blob=True
)
