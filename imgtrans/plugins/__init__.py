"""Plugins: found through entry points, loaded one by one, asked for components by name.

A broken plugin becomes a record with its error and hides no other; names have no precedence, so
installing a package never changes what an existing recipe means. Nothing here imports torch.
"""

from __future__ import annotations

from imgtrans.plugins.local import LOCAL
from imgtrans.plugins.record import GROUP, Plugin, UnknownComponentError
from imgtrans.plugins.registry import Registry, registry

__all__ = ("GROUP", "LOCAL", "Plugin", "Registry", "UnknownComponentError", "registry")
