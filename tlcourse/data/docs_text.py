"""Plain sentences from docstrings: markup, code and names out, repetitions dropped."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain

import numpy as np

_NAMES = re.compile(
    r"\b(numpy|scipy|pytorch|torch|fft|linalg|optimi[sz]e|optim|signal|sparse|special"
    r"|stats|distributions|random|windows|csgraph|np|nn)\b",
    re.IGNORECASE,
)
_DIRECTIVE = re.compile(r"^\s*\.\. ")
_UNDERLINE = re.compile(r"^\s*[-=~^]{3,}\s*$")
_LABEL = re.compile(
    r"^\s*(args?|arguments|keyword args|keyword arguments|parameters?|returns?|shape|"
    r"examples?|raises|inputs?|outputs?|attributes|methods|yields|variables)\s*::?\s*$",
    re.IGNORECASE,
)
_PROSE_SECTIONS = ("notes", "note", "warning", "warnings")
_MARKUP = re.compile(r"(?P<role>:[\w:]+:)?`{1,2}(?P<body>[^`]*)`{1,2}_{0,2}")
_FUNCTION_WORDS = 60  # the most frequent words say nothing about likeness
_LEAST_CONTENT = 3  # fewer other words than this, and a sentence has no topic
_SIMILAR = 0.7  # Jaccard similarity of word sets from which sentences are "the same"


def plain_sentences(text: str, function: str) -> list[str]:
    """Plain sentences of a docstring, names removed."""
    found = []
    for paragraph in _prose(text):
        paragraph = _MARKUP.sub(_plain_word, re.sub(r"\[\d+\]_?", "", paragraph))
        for sentence in re.split(r"(?<=[A-Za-z0-9)]\.)\s+(?=[A-Z])", paragraph):
            sentence = _without_names(sentence, function)
            if _is_plain(sentence):
                found.append(sentence)
    return found


def _plain_word(match: re.Match[str]) -> str:
    """What stands for a piece of markup: a plain argument name stays, code goes."""
    role, body = match["role"] or "", match["body"].strip("\\ ")
    if body.isalpha() and role not in (":func:", ":class:", ":mod:", ":meth:"):
        return body
    return "x" if role == ":math:" else "this"


def _prose(text: str) -> list[str]:
    """Paragraphs of running text: the description and the notes, unwrapped."""
    paragraphs, current, keep, literal = [], [], True, None
    lines = text.splitlines()
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        below = lines[i + 1] if i + 1 < len(lines) else ""
        if _UNDERLINE.match(below):
            keep = line.strip().lower() in _PROSE_SECTIONS
        elif _LABEL.match(line):
            keep = False
        is_text = bool(line.strip()) and not _UNDERLINE.match(below + line)
        is_text = is_text and not _UNDERLINE.match(line) and not _UNDERLINE.match(below)
        if literal is not None and line.strip() and indent <= literal:
            literal = None
        if _DIRECTIVE.match(line):
            is_text = False
            if not re.search(r"\.\. (note|warning)::", line):
                literal = indent
        if is_text and keep and literal is None and not line.strip().startswith(">>>"):
            current.append(line.strip())
        elif current:
            paragraphs.append(" ".join(current))
            current = []
        if line.rstrip().endswith("::") and literal is None:
            literal = None if _DIRECTIVE.match(line) else indent
    return [*paragraphs, " ".join(current)]


def _without_names(sentence: str, function: str) -> str:
    """The sentence without module names, the function's name and code."""
    words = [
        word
        for word in sentence.split()
        if not re.search(r"[_=\\{}<>|^*/#]|\w\.\w|\w\(|\d{3}", word)
        and word.strip(".,;:()'\"").lower() != function.lower()
    ]
    sentence = re.sub(r"\s+", " ", _NAMES.sub("", " ".join(words)))
    return re.sub(r" ([.,;:)])|\( ", lambda m: m[1] or "(", sentence).strip(" ,;:-")


def _is_plain(sentence: str) -> bool:
    """Whether it reads as one English sentence of usual length."""
    words = sentence.split()
    letters = sum(character.isalpha() or character == " " for character in sentence)
    return (
        6 <= len(words) <= 40
        and sentence[0].isupper()
        and sentence.endswith(".")
        and sentence.isascii()
        and letters > 0.9 * len(sentence)
        and len(re.findall(r"\bthis\b", sentence)) < 2
        and "this x" not in sentence
    )


def distinct(sentences: list[str]) -> list[int]:
    """Indices of sentences with content, unlike every earlier one that is kept."""
    from scipy.sparse import csr_array

    words = [re.findall(r"[a-z]+", sentence.lower()) for sentence in sentences]
    often = {word for word, _ in Counter(chain(*words)).most_common(_FUNCTION_WORDS)}
    vocabulary: dict[str, int] = {}
    rows, columns = [], []
    for i, sentence in enumerate(words):
        content = set(sentence) - often
        if len(content) < _LEAST_CONTENT:
            continue
        for word in content:
            rows.append(i)
            columns.append(vocabulary.setdefault(word, len(vocabulary)))
    shape = (len(sentences), len(vocabulary))
    bags = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    sizes = bags.sum(axis=1)
    common = (bags @ bags.T).tocoo()
    union = sizes[common.row] + sizes[common.col] - common.data
    alike = (common.data >= _SIMILAR * union) & (common.col < common.row)
    earlier: dict[int, list[int]] = {}
    for i, j in zip(common.row[alike], common.col[alike], strict=True):
        earlier.setdefault(int(i), []).append(int(j))
    kept: set[int] = set()
    for i in range(len(sentences)):
        if sizes[i] and not kept.intersection(earlier.get(i, ())):
            kept.add(i)
    return sorted(kept)
