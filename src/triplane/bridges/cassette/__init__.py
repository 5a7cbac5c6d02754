"""Cassettes: what a real Responses endpoint said, recorded once through a local proxy and replayed from a file.

`record` is the proxy; it passes WebSockets and HTTP on to an upstream endpoint and writes down what goes by, without
secrets. `replay` is a server that says the same again, and objects when a client asks something else.
"""

from .drift import CassetteDrift as CassetteDrift
from .errors import CassetteError as CassetteError
from .record import Recorder as Recorder
from .record import record as record
from .redaction import Redaction as Redaction
from .replay import Replayer as Replayer
from .replay import replay as replay
from .tape import Tape as Tape
from .tape import read_tape as read_tape
