"""How the judged server calls its model, and the key that it asks for."""

ALIAS = "tinyllama-2"
OTHER_NAMES = (
    "davinci-002", "gpt-3.5-turbo", "gpt-3.5-turbo-instruct", "gpt-4.1", "text-embedding-3-small",
    "test",
)  # fmt: skip
"""Names that llama.cpp's tests ask for: its server answers any."""
KEY = "sk-this-is-the-secret-key"
