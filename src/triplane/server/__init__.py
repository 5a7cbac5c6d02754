"""A local Responses server: the endpoint on your own machine, with rule-based models instead of a GPU."""

from .app import Server as Server
from .app import ServerHandle as ServerHandle
from .app import serve as serve
from .app import serve_stream as serve_stream
from .errors import OptionError as OptionError
from .faults import CloseSocket as CloseSocket
from .faults import Drop as Drop
from .faults import RefuseUpgrade as RefuseUpgrade
from .faults import Stall as Stall
from .ids import Ids as Ids
from .model import FunctionCall as FunctionCall
from .model import Model as Model
from .model import ModelRequest as ModelRequest
from .model import NewMessage as NewMessage
from .model import Step as Step
from .model import Text as Text
from .model import Wait as Wait
from .options import Options as Options
from .options import ServerStatistics as ServerStatistics
