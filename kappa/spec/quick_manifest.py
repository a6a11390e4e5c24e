"""The text of a `kappa.yml` read by libyaml, where PyYAML is installed: for whoever reads many manifests.

The digest that a manifest names proves the reading, because it covers every key and value as written. A text whose
digest is another one, or none, is read again by ruamel, whose word counts. So is a text with what Kappa never writes:
anchors, tags, a key that is there twice. How plain scalars are read here is therefore a matter of speed alone.

PERF: 1 ms for a manifest of 3.5 kB, where ruamel takes 20 ms; the import of PyYAML takes as long as two of these.
"""

from __future__ import annotations

import re
from typing import Any

from kappa.spec.manifest import bundle_digest, load_yaml

__all__ = ["load_quickly"]

_WORDS = {"null": None, "true": True, "false": False}
_INTEGER = re.compile(r"-?[0-9]+")
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[-+][0-9]+)?")


def load_quickly(text: str) -> Any:
    """Return what `load_yaml` returns, and raise what it raises."""
    try:
        from yaml import CSafeLoader, YAMLError
    except ImportError:  # PyYAML is absent, or without libyaml
        return load_yaml(text)
    try:
        tree = _tree_of(text, CSafeLoader)
        if bundle_digest(tree) == tree["bundle_digest"]:
            return tree
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError, YAMLError):
        pass  # the text is none that Kappa wrote
    return load_yaml(text)


def _tree_of(text: str, loader: Any) -> Any:
    """Build the one value of a text; raises `ValueError` for what Kappa does not write."""
    from yaml import MappingEndEvent, NodeEvent, ScalarEvent, SequenceEndEvent, parse
    from yaml.events import CollectionStartEvent

    unfinished: list[list[Any]] = [[]]
    for event in parse(text, Loader=loader):
        if isinstance(event, NodeEvent) and (event.anchor is not None or event.tag is not None):
            raise ValueError("an anchor, an alias or a tag")
        if isinstance(event, ScalarEvent):
            unfinished[-1].append(_plain(event.value) if event.implicit[0] else event.value)
        elif isinstance(event, CollectionStartEvent):
            unfinished.append([])
        elif isinstance(event, SequenceEndEvent):
            items = unfinished.pop()
            unfinished[-1].append(items)
        elif isinstance(event, MappingEndEvent):
            items = unfinished.pop()
            mapping = dict(zip(items[::2], items[1::2], strict=True))
            if 2 * len(mapping) != len(items):
                raise ValueError("a key that is there twice")
            unfinished[-1].append(mapping)
    (tree,) = unfinished[0]
    return tree


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
