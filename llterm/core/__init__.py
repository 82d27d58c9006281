"""Pure parts: tokens, distributions, the search, the document. Python and numpy, no I/O."""
