"""Where logs are kept: in memory, or in a file that several processes share."""

from .artifacts import FileArtifacts as FileArtifacts
from .memory import ClaimedMemoryLog as ClaimedMemoryLog
from .memory import MemoryLedger as MemoryLedger
from .memory import MemoryLog as MemoryLog
from .sqlite import SqliteLedger as SqliteLedger
from .sqlite import open_ledger as open_ledger
