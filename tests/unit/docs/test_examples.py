"""Examples of the documentation that play in a session are run by two players, to the outcome the text promises."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), ROOT / "sdk/README.md", ROOT / "sdk/web/README.md"])
PROGRAMS = sorted([*ROOT.glob("sdk/examples/*"), *ROOT.glob("sdk/web/examples/*")])

# The example, and the test that runs its two players.
TESTS = {
    "README.md main": "tests/e2e/test_docs.py test_readme_plays_a_match",
    "docs/how-to/game-loops.md count_to": "tests/integration/sdk/test_readme.py test_a_game_by_turns",
    "docs/how-to/play-a-match.md duel": "tests/integration/sdk/test_matchmaking.py test_two_players_meet_and_play",
    "docs/how-to/play-a-match.md replace_who_left": (
        "tests/integration/sdk/test_matchmaking.py test_free_seats_are_found_by_who_wants_to_play_at_once"
    ),
    "docs/how-to/sessions.md lobby": "tests/e2e/test_docs.py test_session_how_to",
    "docs/quickstart.md player": (
        "tests/e2e/test_docs.py test_quickstart_can_be_run_twice_and_what_it_says_to_type_next_plays_a_match"
    ),
    "sdk/README.md main": (
        "tests/integration/sdk/test_readme.py test_two_copies_of_the_first_example_agree_on_the_result"
    ),
    "sdk/README.md duel": "tests/integration/sdk/test_matchmaking.py test_the_example_of_the_readme",
    "sdk/README.md race": "tests/integration/sdk/test_readme.py test_a_game_loop",
    "sdk/web/README.md main": "tests/web/test_readme.py test_two_copies_of_the_first_example_agree_on_the_result",
    "sdk/web/README.md duel": "tests/web/test_readme.py test_two_copies_of_the_matchmaking_example_meet_in_one_session",
    "sdk/examples/arena": "tests/e2e/test_arena.py test_everybody_comes_to_the_same_scores",
    "sdk/examples/rock_paper_scissors.py": "tests/e2e/matches.py play_match",
    "sdk/web/examples/node-grpc": (
        "tests/web/test_another_language.py test_a_node_client_plays_a_match_over_a_bidirectional_stream"
    ),
    "sdk/web/examples/rock-paper-scissors": (
        "tests/web/test_browser.py test_a_page_plays_a_match_and_sees_events_as_they_happen"
    ),
}


def plays(function: ast.AST) -> bool:
    """Whether a function opens a session's stream, or is given one."""
    for node in ast.walk(function):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in {"play", "spectate"}:
            return True
        if isinstance(node, ast.arg) and node.annotation is not None and "PlaySession" in ast.unparse(node.annotation):
            return True
    return False


def examples_that_play() -> Iterator[str]:
    for page in PAGES:
        text, name = page.read_text(), page.relative_to(ROOT)
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            for node in ast.parse(block).body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and plays(node):
                    yield f"{name} {node.name}"
        for block in re.findall(r"```ts\n(.*?)```", text, re.DOTALL):
            if found := re.search(r"function (\w+)\(.*\.(?:watch|play)\(", block, re.DOTALL):
                yield f"{name} {found[1]}"
    for program in PROGRAMS:
        if not program.name.startswith("__"):
            yield str(program.relative_to(ROOT))


def test_every_example_that_plays_in_a_session_is_run_by_its_two_players() -> None:
    assert sorted(examples_that_play()) == sorted(TESTS)


@pytest.mark.parametrize("example", TESTS)
def test_the_test_of_an_example_is_there(example: str) -> None:
    path, name = TESTS[example].split()
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
