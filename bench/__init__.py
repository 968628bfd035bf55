"""How fast Spillway is, side by side with others on the same machine, at the same time, on the same input: `make bench`.

Ours and the peer take turns, so that a noisy machine is noisy to both, and of each the median counts. Nothing leaves loopback
but the peers' installation from PyPI. It runs what a user runs: the `spillway` command, or the public functions below it.
"""
