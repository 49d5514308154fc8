"""The state machine that every engine drives: messages in, state roots out."""

from dii.application.app import Application, BlockResult, TxResult, total_money
from dii.application.governance import Misbehaviour

__all__ = ["Application", "BlockResult", "Misbehaviour", "TxResult", "total_money"]
