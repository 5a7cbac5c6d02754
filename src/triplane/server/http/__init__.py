"""The HTTP side: requests, and the same responses without a socket."""
