"""See `common`."""

from __future__ import annotations

import asyncio

from common import main

asyncio.run(main(websocket=True))
