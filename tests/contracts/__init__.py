"""One suite per port, run against every adapter of it."""

import pytest

# Pytest explains a failed assert only in modules that it knows as tests.
pytest.register_assert_rewrite(
    "tests.contracts.definitions_contract",
    "tests.contracts.event_log_contract",
    "tests.contracts.feed_contract",
    "tests.contracts.hot_state_contract",
    "tests.contracts.inbox_contract",
    "tests.contracts.key_store_contract",
    "tests.contracts.projections_contract",
    "tests.contracts.publisher_contract",
    "tests.contracts.queries_contract",
    "tests.contracts.verification_contract",
    "tests.contracts.verification_site",
    "tests.contracts.verified_memory_contract",
)
