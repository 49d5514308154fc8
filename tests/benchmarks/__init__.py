"""The numbers that matter, each measured with its peers in the same run.

Medians of several runs; nothing here gates the build. ``make bench`` runs all benchmarks, and
``python -m tests.benchmarks transfers start`` some of them.
"""
