"""Runs searches and text through a source. Knows no document and no screen."""
