"""What needs models of some hundred MB, which come as packages: `make test-models`."""
