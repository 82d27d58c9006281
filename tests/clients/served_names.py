"""How the judged server calls its model, and the key that it asks for."""

ALIAS = "tinyllama-2"
KEY = "sk-this-is-the-secret-key"
