"""Fault runs from seeds: what an episode is made of, what it leaves behind, and the laws it is held against.

An episode is drawn whole from its seed (`plan.py`), played by `actors/chaos_episode.py`, and leaves a
timeline (`timeline.py`): what the venue knows, what left on the wire, what the journal took. The checkers
read nothing else.
"""
