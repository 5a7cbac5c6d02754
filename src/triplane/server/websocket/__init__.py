"""The WebSocket side: an upgrade, and the conversation over it."""
