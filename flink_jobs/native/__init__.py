"""Compiles the modules of ``flink_jobs/core`` that run for every event to machine code, and loads them.

mypyc compiles typed Python to C extensions. Without a C compiler, or after an edit, the same source files run as Python
with the same results. ``build`` compiles the modules (``make setup`` calls it), ``loader`` makes imports find them, and
``modules`` lists them and computes which build belongs to the present sources.
"""
