"""llterm for programs, `import llterm`: models, looms and their nodes, sync and async.

The work is done by `jobs` and `session`; here are its names, its threads and its results.
"""

import logging

# What a library says is heard where its user listens, and not written on the screen.
for _name in ("llterm", "llama.cpp"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
