"""Tests that take too long for every day: ``make soak`` runs all of them.

``python -m tests.soak crashes 300`` runs one, 300 times, and prints a summary; a failure names the
seed that repeats it. The ordinary tests run the same with small numbers.
"""
