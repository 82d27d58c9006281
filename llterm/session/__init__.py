"""One open loom and the weave at its cursor: what every face (screen, scripts, server) talks to."""
