"""In a command's process: whatever would execute what a file says ends the process loudly."""

from __future__ import annotations

import builtins
import marshal
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from typing import Any

import torch


def refused(name: str) -> Callable[..., Any]:
    """What stands in place of a function that executes."""

    def refuse(*_: object, **__: object) -> None:
        sys.stderr.write(f"EXECUTED {name}\n")
        traceback.print_stack()
        os._exit(99)

    return refuse


def refuse_execution() -> None:
    """Pickles, ``torch.load`` of more than tensors, marshal, yaml; ours ``eval`` and ``exec``."""
    load = torch.load

    def safe_load(*arguments: Any, **options: Any) -> Any:
        if options.get("weights_only") is not True:
            refused("torch.load")()
        return load(*arguments, **options)

    class NoUnpickler:
        def __init__(self, *_: object, **__: object) -> None:
            refused("pickle.Unpickler")()

    torch.load = safe_load
    pickle.load, pickle.loads = refused("pickle.load"), refused("pickle.loads")
    pickle.Unpickler = pickle._Unpickler = NoUnpickler
    builtins.eval, builtins.exec = _not_of_ours("eval"), _not_of_ours("exec")
    marshal.load, marshal.loads = refused("marshal.load"), _for_imports(marshal.loads)
    if "yaml" in sys.modules:
        sys.modules["yaml"].load = refused("yaml.load")


def _not_of_ours(name: str) -> Callable[..., Any]:
    """Libraries make classes of text of their own; we never do."""
    call = getattr(builtins, name)

    def called(*arguments: Any, **options: Any) -> Any:
        frame = sys._getframe(1)
        if str(frame.f_globals.get("__name__")).startswith("imgtrans"):
            refused(name)()
        if len(arguments) == 1 and not options:  # in the namespace of whoever calls, as without us
            arguments = (arguments[0], frame.f_globals, frame.f_locals)
        return call(*arguments, **options)

    return called


def _for_imports(loads: Callable[..., Any]) -> Callable[..., Any]:
    """A module's own bytecode is no file of a user's."""

    def called(*arguments: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__") != "importlib._bootstrap_external":
            refused("marshal.loads")()
        return loads(*arguments)

    return called
