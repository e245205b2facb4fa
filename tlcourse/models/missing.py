"""The error for a pretrained model whose files are not on this computer."""

from __future__ import annotations


class ModelMissing(FileNotFoundError):
    """Files of a pretrained model are not here; the message says how to mend."""
