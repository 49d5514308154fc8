"""Readers of the formats, one small class each; ``dii.telemetry.formats`` lists them in order."""
