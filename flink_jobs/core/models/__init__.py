"""Models in the job: load an artifact, score a transaction, explain a score, and disable a model that fails.

Modules in reading order:

- ``manifest``, ``artifact``: the files of a model artifact, and their checks
- ``trees``: tree arrays, and the walk that scores a row
- ``encodings``, ``calibration``: optional tables of an artifact
- ``families``, ``model``: a loaded model that scores and explains transactions
- ``slot``, ``breaker``, ``faults``: one model in a role, and the handling of its faults
- ``lineup``, ``guard``: champion, challenger and shadow, and the guard of an experiment
"""
