"""A CrossEncoder small enough to be made in a test, which likes one word: the more of it, the higher its score."""

from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast


def save_crossencoder(folder: Path, liked: str, labels: int = 1) -> Path:
    """Attention is even, so what [CLS] becomes is a mean over all tokens; only `liked` has anything to add to it."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", liked]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=4,
        max_position_embeddings=512,
        num_labels=labels,
    )
    model = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if name.endswith("LayerNorm.weight") else 0.0)
        embeddings = model.bert.embeddings.word_embeddings.weight
        embeddings[words.index("[CLS]")] = torch.tensor([0.0, 0.0, 1.0, -1.0])
        embeddings[words.index(liked)] = torch.tensor([1.0, -1.0, 0.0, 0.0])
        layer = model.bert.encoder.layer[0].attention
        for same in (layer.self.value, layer.output.dense, model.bert.pooler.dense):
            same.weight.copy_(torch.eye(4))
        model.classifier.weight[0, 0] = 1.0
    model.save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder)
    return folder
