"""The package, its tests, lessons and pages are written in plain English: no idiom of the list in tests/language.py."""

from language import files, hits


def test_no_idiom_that_plain_english_replaces():
    found = hits(files())
    assert not found, "\n".join(found[:40])


def test_each_idiom_is_found(tmp_path):
    path = tmp_path / "a.md"
    for text in (
        "it is recorded anew",
        "the one beside it",
        "a shuffled table",
        "the share of pairs",
        "what the numbers are worth",
        "a whole number from 1",
        "what its layers say",
        "Of each pair the value that is larger",
        "two networks",
        "colours",
        "nearest neighbors",
        "centered columns",
        "the gray line",
        "batch normalization",
        "labeled samples",
        "the behavior of animals",
        "an artifact",
    ):
        path.write_text(text + ".\n")
        assert hits([path]), text
    path.write_text("Neural networks are compared: layers share weights, and a network file system is slow.\n")
    assert not hits([path])
    path.write_text(
        "sklearn.neighbors.NearestNeighbors(n_neighbors=3), ha='center', Neighborhood preservation in maps.\n"
    )
    assert not hits([path])
