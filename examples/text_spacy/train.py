"""Train a pipeline that says which team a customer's message is for, and write it into `tickets.spacy/`."""

from __future__ import annotations

import random

import spacy
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch

MESSAGES = {
    "billing": [
        "I was charged twice for my subscription this month",
        "Please refund the last invoice, I cancelled in March",
        "My credit card was declined though it is valid",
        "Where do I find the invoice for my order",
        "The price on my bill is higher than on the page",
        "I want my money back, the payment went through twice",
        "Can you change the address on my invoice",
        "You debited my account after I had cancelled",
    ],
    "technical": [
        "The app crashes when I open the settings",
        "I cannot log in since the update",
        "The page shows an error after I upload a file",
        "My phone does not connect to the server",
        "Sync has been stuck at ten percent since yesterday",
        "The button to reset my password does nothing",
        "The screen stays black after the update",
        "Uploading pictures ends with an error message",
    ],
}


def main() -> None:
    fix_random_seed(1)
    pipeline = spacy.blank("en")
    model = {
        "@architectures": "spacy.TextCatBOW.v3",
        "exclusive_classes": True,
        "ngram_size": 1,
        "no_output_layer": False,
    }
    pipeline.add_pipe("textcat", config={"model": model})
    examples = [
        Example.from_dict(pipeline.make_doc(text), {"cats": {label: float(label == team) for label in MESSAGES}})
        for team, texts in MESSAGES.items()
        for text in texts
    ]
    optimizer = pipeline.initialize(lambda: examples)
    order = random.Random(1)
    for _ in range(40):
        order.shuffle(examples)
        for batch in minibatch(examples, size=4):
            pipeline.update(batch, sgd=optimizer)
    pipeline.add_pipe("entity_ruler").add_patterns(
        [{"label": "ORDER", "pattern": [{"LOWER": "order"}, {"SHAPE": "dddd"}]}]
    )
    pipeline.to_disk("tickets.spacy")


if __name__ == "__main__":
    main()
