"""What needs the extra `llterm[clients]`: `make test-clients`."""
