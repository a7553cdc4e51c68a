"""How near a training step is to what this machine's arithmetic and memory allow.

``command.py`` reads in the order of what ``imgtrans benchmark`` does: the step is counted
(``step.py``, ``work.py``, ``memory.py``), the machine's rates are measured (``machine.py``), then
real steps are (``measuring.py``, ``operators.py``). ``shortage.py`` uses the counts where memory
ran out.
"""
