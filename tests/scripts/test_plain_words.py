"""Private words are found in what users see, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import plain_words
import pytest

SAMPLES = {
    "look": ("first look in 0 s", "a failed look", "at the next look", "each look costs"),
    "looks": ("seconds between two looks", "the looks of a fixed interval", "half of all looks"),
    "looks a second": ("the most looks a second", "looks_per_second=4", "four looks per minute"),
    "look once": ("it looks once, then waits", "Look once."),
    "home": ("the home of the journal", "two homes"),
    "shelf": ("a shelf", "all shelves"),
    "in doubt": ("a start in doubt",),
    "nobody": ("nobody knows its price", "Nobody answers", "no one knows"),
    "somebody": ("Somebody has to answer",),
    "whoever": ("whoever may answer",),
    "goes on": ("the request goes on and is billed",),
    "go on with": ("Going on with request 5", "a retry goes on with it", "go on\n    with the request"),
    "is told": ("which is told as failed", "workers are told"),
    "a person": ("ask a person", "to wait for that person"),
    "people": ("people may edit XCom", "for other people"),
    "buy again": ("buys again", "a clear buys anew", "bought again", "buys nothing again", "buys another one"),
    "dearer": ("dearer", "the dearest possible", "too dear"),
    "start": (
        "seconds a paid start may take",
        "before the start is sent",
        "sent a start of text-to-video",
        "the answer to a start",
        "a start in doubt",
        "for two starts",
        "the starts of a team",
    ),
    "words": ("check the words about waiting", "several words combine", "Words of another take"),
    "makes no sense": ("the answer makes no sense",),
    "on such ground": ("nothing is sent on such ground",),
    "leaves it away": ("ui = False leaves it away", "leave the orders in double brackets away"),
    "for tasks that do not say": ("for tasks that do not say", "a task that does not say"),
}

ENGLISH = (
    "A look at the log; look at it, look for the request and look it up; it looks like an MP4.",
    "The page looks through the newest 60; a user who looks for a run finds it.",
    "`~` is the home directory; the ledger lies in AIRFLOW_HOME; see the home page.",
    "Go on, start here: from the start, at the start of the DAG run, before the start date, each run starts at 6.",
    "The task starts. A DAG run starts with the task. The triggerer restarts.",
    "A doubt, in person, and personal data; it was told apart by its number; without a word.",
    "The clip is bought once and is kept. Buy a new video. Status words are an open list.",
    "import_module('journal.homes'), the path /data/home/clips and the name grokvideo_of_nobody",
    "in the words of the usage guidelines; the first words of the prompt",
    "Leave it as it is. Stay away from the limit.",
)


@pytest.mark.parametrize(("name", "sample"), [(name, each) for name, found in SAMPLES.items() for each in found])
def test_private_word_is_found(name: str, sample: str) -> None:
    """Each word of the list is found in the texts that it is about."""
    assert name in {word.name for _, word, _ in plain_words.private_words(sample)}


def test_each_word_has_a_sample() -> None:
    """No word of the list is untried, and none is there twice."""
    assert list(SAMPLES) == [word.name for word in plain_words.WORDS]


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_left_alone(text: str) -> None:
    """The same letters in good English are no private word."""
    assert [] == [found for _, _, found in plain_words.private_words(text)]


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        pytest.param("docs/guide.md", "One\n\nIt goes\non.\n", [3], id="documentation, over a line end"),
        pytest.param("README.md", "It goes on.\n", [1], id="readme"),
        pytest.param("CHANGELOG.md", "\nIt goes on.\n", [2], id="changelog"),
        pytest.param("CONTRIBUTING.md", "It goes on.\n", [], id="not for users"),
        pytest.param("dags_examples/a.py", '"""It goes on."""\n# It goes on.\n', [1, 2], id="example"),
        pytest.param("tests/test_a.py", '"""It goes on."""\n', [], id="test"),
        pytest.param("airflow_provider_grokvideo/a.py", 'x = 1\nlog(f"request {x}" " goes on")\n', [2], id="message"),
        pytest.param("airflow_provider_grokvideo/a.py", "x = 1  # it goes on\n", [], id="comment"),
        pytest.param("airflow_provider_grokvideo/a.py", 'x = {"home": 1}\n', [], id="key"),
        pytest.param("airflow_provider_grokvideo/a.py", 'def f():\n    """It goes on."""\n', [2], id="docstring"),
        pytest.param(
            "airflow_provider_grokvideo/a.py", 'def _f():\n    """It goes on."""\n', [], id="private function"
        ),
        pytest.param("airflow_provider_grokvideo/a.py", 'A = 1\n"""It goes on."""\n', [2], id="public constant"),
        pytest.param("airflow_provider_grokvideo/a.py", '_A = 1\n"""It goes on."""\n', [], id="private constant"),
        pytest.param(
            "airflow_provider_grokvideo/a.py", 'def _f():\n    return "it goes on"\n', [2], id="private's message"
        ),
        pytest.param(
            "airflow_provider_grokvideo/plugins/static/a.js",
            "// it goes on\nconst a = \"it goes on\";\nconst b = 'x' /* it goes on */;\nconst c = `${a} goes on`;\n"
            "const d = `${home}/${a ? 'goes on' : b}`;\n",
            [2, 4, 5],
            id="script",
        ),
        pytest.param(
            "airflow_provider_grokvideo/plugins/static/a.html",
            '<!-- it goes on -->\n<p class="home">\nit goes on</p>\n<img alt="it goes on">\n',
            [3, 4],
            id="page",
        ),
    ],
)
def test_place_is_named(tmp_path: Path, name: str, text: str, lines: list[int]) -> None:
    """A private word is named with its file and line, where a user can see it."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    expected = [f"{name}:{line}: " for line in lines]

    assert expected == [
        found[: len(start)] for found, start in zip(plain_words.findings(tmp_path), expected, strict=True)
    ]
