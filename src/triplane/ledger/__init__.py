"""Where logs are kept: in memory."""

from .artifacts import FileArtifacts as FileArtifacts
from .memory import MemoryLedger as MemoryLedger
from .memory import MemoryLog as MemoryLog
