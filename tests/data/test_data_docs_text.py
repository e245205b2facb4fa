import pytest

from tlcourse.data.docs_text import distinct, plain_sentences

DOC = """Compute the inverse of a square matrix quickly.

The routine `foo` uses Newton steps on
the given input until they converge.

Parameters
----------
a : array
    This line on the parameter must never become a sentence.

Notes
-----
Convergence is quadratic near the solution of the problem.

.. math::
    This Formula Must Never Become A Sentence.

Examples
--------
>>> This example must never become a sentence.
"""


def test_prose_is_kept_and_the_rest_is_not():
    assert plain_sentences(DOC, "foo") == [
        "Compute the inverse of a square matrix quickly.",
        "The routine uses Newton steps on the given input until they converge.",
        "Convergence is quadratic near the solution of the problem.",
    ]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Wraps numpy.linalg.inv around each block of the matrix.",
         "Wraps around each block of the matrix."),
        ("The ``axis`` argument is passed on to every worker.",
         "The axis argument is passed on to every worker."),
        ("See :func:`scipy.fft.fft` for the longer description of modes.",
         "See this for the longer description of modes."),
        ("Solves a sparse system by the method of somebody.",
         "Solves a system by the method of somebody."),
    ],
)  # fmt: skip
def test_names_and_markup(text, plain):
    assert plain_sentences(text, "inv") == [plain]


@pytest.mark.parametrize(
    "text", ["Too short.", "no capital at the start of this one.", "No full stop here"]
)
def test_what_is_not_a_sentence(text):
    assert plain_sentences(text, "f") == []


def test_near_duplicates_go(monkeypatch):
    monkeypatch.setattr("tlcourse.data.docs_text._FUNCTION_WORDS", 0)
    sentences = [
        "Fits a smooth curve through noisy points.",
        "Draws random integers from an interval.",
        "Fits a smooth curve through the noisy points.",
        "Fits a smooth curve through noisy points.",
    ]
    assert distinct(sentences) == [0, 1]
