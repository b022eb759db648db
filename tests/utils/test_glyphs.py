"""Glyphs from Matplotlib's fonts: one scale and baseline, pairs that belong together, no character twice."""

import numpy as np
import pytest

from utils import download, glyphs


def test_images_are_grey_levels_of_ink():
    images = glyphs.render("AB ", "sans", size=12)
    assert images.shape == (3, 12, 12) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1
    assert images[2].max() == 0, "a blank has no ink"
    assert images[:2].max(axis=(1, 2)).min() > 0.5


def test_a_bar_stands_upright_and_in_the_middle():
    """A vertical bar: one or two columns in the middle, and nothing elsewhere."""
    bar = glyphs.render("|", "mono")[0]
    columns = np.flatnonzero(bar.sum(axis=0))
    assert set(columns) <= {7, 8}
    np.testing.assert_allclose(bar[:, 7], bar[:, 8], atol=0.1)


def test_all_characters_share_a_baseline_and_a_scale():
    """E stands on the line on which x stands, p hangs below it; E is as high after an x."""
    lowest = {c: np.flatnonzero(glyphs.render(c, "sans")[0].sum(axis=1) > 0.5).max() for c in "Exp"}
    assert lowest["E"] == lowest["x"] < lowest["p"]
    highest = {c: np.flatnonzero(glyphs.render(c, "sans")[0].sum(axis=1) > 0.5).min() for c in "Ex"}
    assert highest["E"] < highest["x"]
    np.testing.assert_array_equal(glyphs.render("xE", "sans")[1], glyphs.render("E", "sans")[0])


@pytest.mark.parametrize("font", glyphs.FONTS)
def test_every_font_has_all_letters_and_digits(font):
    images = glyphs.render(glyphs.ALPHANUMERIC, font)
    missing = glyphs.render("\uffff", font)[0]  # no character: what the font shows for one that it lacks
    assert len(images) == 62
    assert np.abs(images - missing).mean(axis=(1, 2)).min() > 0.01
    assert len(np.unique(images.reshape(62, -1), axis=0)) == 62


def test_a_bold_glyph_has_more_ink_and_is_nearest_to_its_own_counterpart():
    letters = glyphs.letters("sans bold", "sans")
    bold, regular = (glyphs.render(letters, font) for font in ("sans bold", "sans"))
    assert np.mean(bold.sum(axis=(1, 2)) > regular.sum(axis=(1, 2))) > 0.99
    apart = np.abs(bold[:, None] - regular[None]).mean(axis=(2, 3))
    assert np.mean(apart.argmin(axis=1) == np.arange(len(letters))) > 0.5


def test_no_two_letters_are_alike_and_none_touches_the_border():
    letters = glyphs.letters("sans bold", "sans")
    assert len(set(letters)) == len(letters) > 300
    assert len({"A", "Α", "А"} & set(letters)) == 1, "the Latin, Greek and Cyrillic A are one"
    for font in ("sans bold", "sans"):
        images = glyphs.render(letters, font)
        border = np.concatenate([images[:, [0, -1]], images[:, :, [0, -1]].swapaxes(1, 2)], axis=1)
        assert border.max() < 0.05
        apart = np.abs(images[:, None] - images[None]).mean(axis=(2, 3)) + np.eye(len(letters))
        assert apart.min() >= 0.02


def test_the_order_of_letters_is_fixed_and_has_no_meaning():
    letters = glyphs.letters("sans bold", "sans")
    assert letters == glyphs.letters.__wrapped__("sans bold", "sans")
    places = np.array([ord(c) for c in letters])
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.2


def test_a_font_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no font 'gothic'.*sans bold"):
        glyphs.render("A", "gothic")


def test_no_training_character_has_a_counterpart_and_the_test_pairs_are_true():
    parts = glyphs.unpaired()
    letters = glyphs.letters("sans bold", "sans")
    (a, b), (test_a, test_b) = parts["train"], parts["test"]
    assert a.shape[1:] == (16, 16, 1) and abs(len(a) - len(b)) <= 1
    np.testing.assert_array_equal(test_b[..., 0], glyphs.render(letters[:100], "sans"))
    np.testing.assert_array_equal(test_a[..., 0], glyphs.render(letters[:100], "sans bold"))
    seen = {name: set() for name in ("train a", "train b", "validation", "test")}
    for name, images, font in [
        ("train a", a, "sans bold"),
        ("train b", b, "sans"),
        ("validation", parts["validation"][1], "sans"),
        ("test", test_b, "sans"),
    ]:
        apart = np.abs(images[:, None, ..., 0] - glyphs.render(letters, font)[None]).mean(axis=(2, 3))
        assert apart.min(axis=1).max() == 0
        seen[name] = set(apart.argmin(axis=1).tolist())
    assert sum(map(len, seen.values())) == len(set.union(*seen.values())) == len(letters)


def test_emoji_without_their_folder_say_where_they_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("LGM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("utils.paths.data_folder", lambda: tmp_path)
    with pytest.raises(download.DataError, match="noto_emoji"):
        glyphs.emoji()


def test_the_alphabet_has_each_character_in_each_upright_font():
    images, names = glyphs.alphabet()
    assert images.shape == (8 * 62, 16, 16, 1) and not any("slanted" in font for font in glyphs.UPRIGHT)
    np.testing.assert_array_equal(
        images[62:124, ..., 0], glyphs.render(glyphs.ALPHANUMERIC, glyphs.UPRIGHT[1])
    )
    assert [glyphs.ALPHANUMERIC[name] for name in names[62:65]] == ["A", "B", "C"]


def test_a_glyph_is_read_and_what_lies_between_two_is_not():
    images = np.stack([np.zeros((2, 2)), np.ones((2, 2)), np.eye(2)])
    names = np.array([7, 8, 9])
    between = (images[0] + images[2]) / 2
    samples = np.stack([*(0.9 * images + 0.05), between, 0.1 * between])
    np.testing.assert_array_equal(glyphs.read(samples, images, names), [7, 8, 9, -1, 7])
    np.testing.assert_array_equal(glyphs.read(samples, images, np.array([7, 8, 7])), [7, 8, 7, 7, 7])


def test_the_reader_reads_a_font_that_it_has_not_seen():
    images, names = glyphs.alphabet()
    answers = []
    for font in range(8):
        new = np.arange(len(names)) // 62 == font
        answers.append(glyphs.read(images[new], images[~new], names[~new]))
    answers = np.concatenate(answers)
    seen = answers >= 0
    assert 0.7 < seen.mean() < 0.85
    assert np.mean(answers[seen] == names[seen]) > 0.98
