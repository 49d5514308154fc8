"""Telemetry: from what gateways report to integers per gateway and epoch.

``readers`` turn files into the tables of ``schema``, ``load`` merges them, ``metrics`` counts. What
most need, ``load`` and ``Telemetry``, stands in ``dii`` itself; nothing is imported here, so that
whoever wants the schema loads no table engine.
"""
