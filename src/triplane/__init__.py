"""Triplane: run tool-calling agents over the Responses API in WebSocket mode, with structured concurrency.

This module is a list of names. Start with `open_engine`, `Agent` and `tool`; `triplane.server` is the local server.
"""

from triplane.core.errors import ApprovalRequired as ApprovalRequired
from triplane.core.errors import CloseInfo as CloseInfo
from triplane.core.errors import ConfigError as ConfigError
from triplane.core.errors import ConnectFailed as ConnectFailed
from triplane.core.errors import ConnectionLost as ConnectionLost
from triplane.core.errors import Effect as Effect
from triplane.core.errors import EngineClosed as EngineClosed
from triplane.core.errors import LedgerCorrupt as LedgerCorrupt
from triplane.core.errors import LimitReached as LimitReached
from triplane.core.errors import ProtocolViolation as ProtocolViolation
from triplane.core.errors import Receipt as Receipt
from triplane.core.errors import RunFailed as RunFailed
from triplane.core.errors import ServerError as ServerError
from triplane.core.errors import Stalled as Stalled
from triplane.core.errors import TriplaneError as TriplaneError
from triplane.core.options import EngineOptions as EngineOptions
from triplane.core.options import RunLimits as RunLimits
from triplane.core.outcome import ToolCall as ToolCall
from triplane.core.outcome import ToolOutcome as ToolOutcome
from triplane.core.records import ConnectionDropped as ConnectionDropped
from triplane.core.records import FramesReceived as FramesReceived
from triplane.core.records import InputAdded as InputAdded
from triplane.core.records import Record as Record
from triplane.core.records import RequestSent as RequestSent
from triplane.core.records import ResponseRetracted as ResponseRetracted
from triplane.core.records import RunEnded as RunEnded
from triplane.core.records import RunStarted as RunStarted
from triplane.core.records import SteerSent as SteerSent
from triplane.core.records import ToolFinished as ToolFinished
from triplane.core.records import ToolStarted as ToolStarted
from triplane.core.records import UndecodableFrame as UndecodableFrame
from triplane.core.reducer import RunState as RunState
from triplane.core.reducer import RunUsage as RunUsage
from triplane.core.store import Ledger as Ledger
from triplane.core.store import RunLog as RunLog
from triplane.engine.agent import Agent as Agent
from triplane.engine.engine import Engine as Engine
from triplane.engine.engine import EngineStatistics as EngineStatistics
from triplane.engine.engine import open_engine as open_engine
from triplane.engine.fan_out import FanOutResult as FanOutResult
from triplane.engine.fan_out import FanOutResults as FanOutResults
from triplane.engine.lane import BareLane as BareLane
from triplane.engine.lane import Turn as Turn
from triplane.engine.run import Run as Run
from triplane.ledger.memory import MemoryLedger as MemoryLedger
from triplane.net.connection import ConnectionStatistics as ConnectionStatistics
from triplane.net.endpoint import Endpoint as Endpoint
from triplane.net.pool import LaneStatistics as LaneStatistics
from triplane.net.pool import PoolStatistics as PoolStatistics
from triplane.protocol.requests import ModelSettings as ModelSettings
from triplane.tools import Tool as Tool
from triplane.tools import ToolContext as ToolContext
from triplane.tools import tool as tool
