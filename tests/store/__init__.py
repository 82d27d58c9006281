"""Tests of loom files."""
