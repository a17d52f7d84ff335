"""What a page of the documentation points at is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split()
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The fragments that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ +(.*)$", CODE.sub(lambda code: code[0].strip("`"), page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_and_images_exist(page: str) -> None:
    here = ROOT / page
    for link in LINK.findall(CODE.sub("", here.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (here.parent / path).resolve() if path else here
        assert target.exists(), f"{page} links to {link}"
        assert target.is_relative_to(ROOT), f"{page} links out of the repository: {link}"
        if fragment:
            assert fragment in anchors(target), f"{page} links to {link}, which has no such heading"


NAMED = re.compile(r"`((?:pkg|services|envoy|sdk|tests|bench|proto|docs|compose)/[\w./-]+\.\w+)(?:::(\w+)[^`]*)?`")


@pytest.mark.parametrize("page", [page for page in PAGES if NAMED.search((ROOT / page).read_text())])
def test_files_and_tests_that_are_named_exist(page: str) -> None:
    for path, test in NAMED.findall((ROOT / page).read_text()):
        assert (ROOT / path).is_file(), f"{page} names {path}"
        if test:
            assert re.search(rf"(def|class) {test}\b|^{test} = ", (ROOT / path).read_text(), re.MULTILINE), (
                f"{page} names {path}::{test}"
            )


def test_there_are_pages() -> None:
    assert "README.md" in PAGES
