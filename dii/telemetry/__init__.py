"""Telemetry: from what gateways report to integers per gateway and epoch.

``readers`` turn files into the tables of ``schema``, ``load`` merges them, ``metrics`` counts. Most
callers need only ``load`` and ``Telemetry``, which are in ``dii`` itself. Nothing is imported here,
so that importing the schema loads no table engine.
"""
