"""The app: screens, panes and keys over a session. The only layer that knows Textual."""
