"""Looms from and for other programs. One small module a format; `exchange` knows them all."""
