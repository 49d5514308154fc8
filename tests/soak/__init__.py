"""Tests that take too long for every day: ``make soak`` runs all, or name some and how often.

``python -m tests.soak crashes 300`` prints what was tried; a failure names the seed that repeats
it. The tests run the same with small numbers.
"""
