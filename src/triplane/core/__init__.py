"""Decisions without I/O: what state a run is in, what to send next, who gets a lane, what may be replayed.

Nothing here imports trio, opens a socket, reads a clock or draws a random number: time and jitter arrive as
arguments, so every decision can be tested as a function.
"""
