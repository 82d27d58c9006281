"""What needs the extra `llterm[servers]`: `make test-servers`."""
