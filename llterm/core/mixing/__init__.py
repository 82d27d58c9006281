"""Several models' distributions as one: pools, turns, and bytes where vocabularies differ. Pure."""
