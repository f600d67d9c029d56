"""The host: in a component what it imports, elsewhere the test host whose call is running."""

import sys

if sys.platform == "wasi":
    from mailroom_guest import _component as host
else:
    from mailroom_guest import _in_memory as host

__all__ = ["host"]
