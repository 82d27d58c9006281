"""Models: in process, and scripted. Each answers the protocol of `llterm.core.query`."""
