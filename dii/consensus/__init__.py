"""Engines that order transactions into blocks, and the node that executes them."""
