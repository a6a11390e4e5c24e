"""A small text classifier of Transformers', with a tokenizer, made here."""

from __future__ import annotations

from typing import Any

__all__ = ["TEXTS", "parts", "text_pipeline"]

TEXTS = ["good day", "bad bad day", "nice", "an ugly and bad and long day"]


def parts() -> dict[str, Any]:
    """Return a model of two layers that tells good from bad, with random weights, and the tokenizer that it needs."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=60, special_tokens=[*words.values()]))
    special = [(word, tokenizer.token_to_id(word)) for word in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    torch.manual_seed(9)  # with which both labels occur
    config = BertConfig(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=1.0,
        id2label={0: "bad", 1: "good"},
        label2id={"bad": 0, "good": 1},
    )
    model = BertForSequenceClassification(config).eval()
    return {"model": model, "tokenizer": PreTrainedTokenizerFast(tokenizer_object=tokenizer, **words)}


def text_pipeline() -> Any:
    from transformers import pipeline

    return pipeline("text-classification", device="cpu", **parts())
