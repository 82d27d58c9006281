"""Fuzzing, kills and bursts: bounded, but too long for every `make test`.

`make soak` runs what is marked `soak`; a counted loop takes its number from `soak_rounds.rounds`.
"""
