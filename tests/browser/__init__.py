"""What needs the extra `llterm[browser]` and Chromium: `make test-browser`."""
