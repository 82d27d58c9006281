"""The command line as a person meets it: what is printed where, and exit codes."""
