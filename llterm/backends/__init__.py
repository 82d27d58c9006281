"""Models: in process, on servers, and scripted. Each answers `llterm.core.query`."""
