"""What every command does: functions from a typed request to a typed result.

They open the models, tell how far they are, and print nothing.
"""
