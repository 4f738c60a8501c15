"""The hot part of the core, compiled to machine code from the very files in ``flink_jobs/core``.

mypyc turns typed Python into a C extension. There is one source: without a compiler, or after an edit, the same files
run as Python and decide the same. ``build`` makes the modules (``make setup`` calls it), ``loader`` finds them, and
``modules`` says which they are and which build belongs to which sources.
"""
