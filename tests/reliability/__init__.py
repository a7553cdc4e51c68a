"""What imgtrans promises when things go wrong, each promise with a count.

The suite checks each a few times; ``python tests/campaign.py`` as often as docs/reliability.md
says, and prints what it found.
"""
