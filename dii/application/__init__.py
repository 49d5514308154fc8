"""The state machine that every engine drives: messages in, state roots out."""

from dii.application.app import Application, BlockResult, TxResult, total_money

__all__ = ["Application", "BlockResult", "TxResult", "total_money"]
