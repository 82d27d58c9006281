"""What several screens or dialogs use."""
