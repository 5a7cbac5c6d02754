"""Trio I/O: dialling, one WebSocket, its heartbeat, and the pool that hands out lanes."""
