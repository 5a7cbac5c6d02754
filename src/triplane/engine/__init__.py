"""Agents and their runs: the loop, its recovery, and the engine that a program opens."""
