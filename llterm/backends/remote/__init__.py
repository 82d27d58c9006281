"""Models on servers: the wire to them, and the dialects they speak."""
