"""Import modules without stopping the event loop.

Airflow's triggerer imports and makes triggers on the one loop that they all share, and complains when something holds it up for
0.2 s (``[triggerer] blocked_main_thread_warning_threshold``). So a trigger's own module is light, and asks here for the rest.
"""

from __future__ import annotations

import asyncio
import importlib

__all__ = ["load"]

#: ``sys.modules`` is no proof: it lists a module before its import is over.
_LOADED: set[str] = set()


async def load(*modules: str) -> None:
    """Import modules in a thread, so that an ``import`` of them on the loop costs nothing from now on.

    :raises ImportError: one is not there.
    """
    for module in modules:
        if module not in _LOADED:
            # Whoever comes meanwhile waits in a thread as well, and not for the import lock on the loop.
            await asyncio.to_thread(importlib.import_module, module)
            _LOADED.add(module)
