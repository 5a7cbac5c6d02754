"""What works at an endpoint, check by check: `examine` it and read the `Report`.

``triplane doctor`` prints what comes out of here.
"""

from .checks import Check as Check
from .checks import Report as Report
from .checks import Status as Status
from .examination import examine as examine

__all__ = ["Check", "Report", "Status", "examine"]
