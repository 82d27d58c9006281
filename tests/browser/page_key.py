"""What the server of the tests asks for."""

KEY = "the-key-of-the-test"
