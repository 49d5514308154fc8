"""Contracts: agreements that participants deploy and the chain carries out."""
