"""The command line. Commands parse, call and print; what they do lives elsewhere.

Nothing here imports torch or pydantic at module level, so that ``--help`` and ``list-components``
start fast.
"""

from __future__ import annotations

from imgtrans.cli.authoring import new_plugin
from imgtrans.cli.benchmarking import benchmark
from imgtrans.cli.exporting import export
from imgtrans.cli.finding import copy, list_components, recipes, schema, show
from imgtrans.cli.group import main
from imgtrans.cli.importing import import_
from imgtrans.cli.reporting import report
from imgtrans.cli.training import run, validate
from imgtrans.cli.using import evaluate, translate

for command in (
    run,
    validate,
    translate,
    export,
    evaluate,
    benchmark,
    import_,
    report,
    list_components,
    show,
    recipes,
    copy,
    schema,
    new_plugin,
):
    main.add_command(command)

__all__ = ("main",)
