"""Where logs are kept: in memory."""

from .memory import MemoryLedger as MemoryLedger
from .memory import MemoryLog as MemoryLog
