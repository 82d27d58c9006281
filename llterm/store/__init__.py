"""Loom files: SQLite, written as things happen."""
