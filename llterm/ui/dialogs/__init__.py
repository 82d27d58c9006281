"""Boxes over a screen, which ask or tell something."""
