"""What tests of any client need: a server on this machine, what it saw, and cassettes of a real one.

For pytest there are the fixtures `responses_server`, `responses_script` and `responses_cassette`, which nobody has to
import. What they yield, and what other test runners can use:
"""

from .cassettes import LocalCassette as LocalCassette
from .cassettes import start_cassette as start_cassette
from .crashes import Crash as Crash
from .crashes import CrashReport as CrashReport
from .crashes import crash_at_every_step as crash_at_every_step
from .expectations import Pattern as Pattern
from .ledgers import LEDGER_CHECKS as LEDGER_CHECKS
from .ledgers import OpenStore as OpenStore
from .local import FaultControl as FaultControl
from .local import LocalServer as LocalServer
from .open import MemoryNetwork as MemoryNetwork
from .open import open_server as open_server
from .open import start_server as start_server
from .threads import ServiceError as ServiceError
