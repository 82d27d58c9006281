"""Models on servers: the transport to them, and the dialects they speak."""
