"""Tree ensembles stored as plain arrays: checks, scoring, and exact attribution of a score to features.

Modules in reading order:

- ``arrays``, ``checks``: the file format, and what makes it safe to evaluate
- ``linked_trees``: the arrays prepared for walking
- ``walk``, ``_tree_walk.c``: the sum of leaf values for a row, in Python and in C
- ``forest_scorer``, ``boosting_scorer``: from this sum to a score
- ``path_attribution``: the contribution of each feature
"""
