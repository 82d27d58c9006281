"""Short scripts with `import llterm`: `python -m examples.reflection [MODEL]`, or as files."""
