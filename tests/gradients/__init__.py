"""What needs the extra `llterm[gradients]`: `make test-gradients`."""
