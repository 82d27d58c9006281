"""Settings: sources, precedence, mistakes."""
