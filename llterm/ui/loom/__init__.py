"""The loom screen: every branch, and what is done to branches."""
