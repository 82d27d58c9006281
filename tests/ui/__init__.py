"""The app on the real session with the scripted model, driven by a pilot."""
