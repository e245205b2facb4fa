"""Encoders: MiniLM as it is, and a tiny BERT with random weights."""

import pytest
import torch


@pytest.fixture(scope="session")
def minilm():
    """Shared by all tests: nobody may change its weights."""
    from tlcourse import models

    return models.load("minilm")


@pytest.fixture
def tiny_config():
    from transformers import BertConfig

    return BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        num_labels=4,
    )


@pytest.fixture
def tiny_bert(tiny_config):
    from transformers import BertModel

    return BertModel(tiny_config).eval()


@pytest.fixture
def tiny_classifier(tiny_config):
    from transformers import BertForSequenceClassification

    return BertForSequenceClassification(tiny_config).eval()


@pytest.fixture
def packed():
    """Five texts of 3 to 9 tokens as pack_texts makes them, ``(5, 2, 12)``."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 50, (5, 12), generator=generator)
    mask = (torch.arange(12) < torch.tensor([[3], [9], [4], [7], [5]])).long()
    return torch.stack([ids * mask, mask], 1)
