"""Measures llterm against its budgets, as ratios and counts in one run."""
