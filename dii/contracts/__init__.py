"""Contracts: agreements that participants deploy and the chain executes."""
