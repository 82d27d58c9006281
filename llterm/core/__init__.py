"""Pure parts: tokens, distributions, the search, the document. Standard library and numpy, no I/O."""
