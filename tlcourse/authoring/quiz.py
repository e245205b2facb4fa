"""Quizzes: a TOML file beside the lesson, shown as plain Markdown."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


class QuizError(ValueError):
    """A quiz file is not as it must be; the message names file and question."""


@dataclass(frozen=True)
class Choice:
    """One answer to choose, whether it is right, and why."""

    text: str
    right: bool
    why: str


@dataclass(frozen=True)
class Question:
    """One question with its choices."""

    id: str
    text: str
    choices: tuple[Choice, ...]


def read_quiz(path: Path) -> tuple[Question, ...]:
    """All questions of one ``quiz.toml``.

    Raises:
        QuizError: not TOML, a field is missing or unknown, or a question has not
            at least three choices of which exactly one is right.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["question"]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise QuizError(f"{path}: cannot be read as a quiz ({error}).") from error
    questions = tuple(_question(entry, path) for entry in entries)
    ids = [question.id for question in questions]
    if len(set(ids)) != len(ids):
        raise QuizError(f"{path}: two questions have the same id.")
    return questions


def _question(entry: dict, path: Path) -> Question:
    name = entry.get("id", "?")
    try:
        choices = tuple(Choice(**choice) for choice in entry["choice"])
        question = Question(entry["id"], entry["text"].strip(), choices)
    except (KeyError, TypeError) as error:
        raise QuizError(f"{path}: question {name!r}: {error}.") from error
    if len(choices) < 3 or sum(choice.right for choice in choices) != 1:
        raise QuizError(
            f"{path}: question {name!r} needs three choices or more, exactly one right."
        )
    return question


def quiz_cells(path: Path) -> list[str]:
    """One Markdown text per question; the answer opens on a click."""
    questions = read_quiz(path)
    return ["## Quiz"] + [_markdown(i, q) for i, q in enumerate(questions, start=1)]


def _markdown(number: int, question: Question) -> str:
    letters = "ABCDEFGH"
    choices = [
        f"- **{letter}.** {choice.text}"
        for letter, choice in zip(letters, question.choices, strict=False)
    ]
    reasons = [
        f"- **{letter}** is {'right' if choice.right else 'wrong'}: {choice.why}"
        for letter, choice in zip(letters, question.choices, strict=False)
    ]
    return "\n".join(
        [
            f"**{number}. {question.text}**",
            "",
            *choices,
            "",
            "<details><summary>Answer</summary>",
            "",
            *reasons,
            "",
            "</details>",
        ]
    )
