"""What the model may write: choices, a pattern, a grammar, a JSON schema. llguidance does the work.

`spec` says it and imports nothing; `compiled` turns it into masks and brings numpy.
"""
