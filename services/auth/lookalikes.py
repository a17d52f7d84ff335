"""Names that look alike: the skeletons of Unicode Technical Standard 39, section 4.

The data are Unicode's `confusables.txt` as the package `confusable-homoglyphs` ships it: for each character those that
can be taken for it, in both directions. Characters that lead to each other form a class, and a skeleton has the same
member in the place of each.
"""

from __future__ import annotations

import json
import unicodedata
from functools import cache
from importlib import resources

import regex

# Leave no trace in a name: zero-width characters, fillers, variation selectors, tags (Unicode: UAX 44).
INVISIBLE = regex.compile(r"\p{Default_Ignorable_Code_Point}+")


def skeleton(name: str) -> str:
    """What two folded names have in common when one can be taken for the other. Shown to nobody."""
    prototypes = _prototypes()
    for _ in range(2):  # a class may be named by a capital, whose small form has a class of its own
        decomposed = unicodedata.normalize("NFD", INVISIBLE.sub("", name))
        name = "".join(prototypes.get(character, character) for character in decomposed).casefold()
    return unicodedata.normalize("NFD", name)


@cache
def _prototypes() -> dict[str, str]:
    """By character, what stands for it in a skeleton."""
    found = json.loads(resources.files("confusable_homoglyphs").joinpath("confusables.json").read_text("utf-8"))
    parents: dict[str, str] = {}

    def root_of(character: str) -> str:
        while (parent := parents.get(character, character)) != character:
            parents[character] = parents.get(parent, parent)
            character = parents[character]
        return character

    sequences: dict[str, str] = {}
    for character, others in found.items():
        targets = [INVISIBLE.sub("", other["c"]) for other in others]
        for target in targets:
            if len(character) == len(target) == 1:
                # The lower code point stands for both: an ASCII letter for all that look like it.
                low, high = sorted((root_of(character), root_of(target)))
                parents[high] = low
        if len(character) == 1 and len(targets) == 1 and len(targets[0]) > 1:
            sequences[character] = targets[0]  # such as `rn` for `m`
    expanded = {root_of(one): "".join(map(root_of, sequence)) for one, sequence in sequences.items()}
    known = parents.keys() | sequences.keys()
    return {character: expanded.get(root_of(character), root_of(character)) for character in known}
