"""The main screen: the story, its suggestions, the heat panel, and what its keys do."""
