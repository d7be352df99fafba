import json
from fractions import Fraction

import pytest
from map_contents import MODEL, SIZE, about

from fullconv.errors import InputError, UsageError
from fullconv.geometry import Grid
from fullconv.storage.maps import MapAbout
from fullconv.storage.maps.about import differences


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kept": (3, 1), "values": "probabilities"},
        {"kept": ("top", 2), "classes": None},
        {"offset": (8, 0), "padded": (3, 7)},
        {"window": (32,), "stride": (8,), "size": (200,)},
        {"window": (4, 32, 32), "stride": (4, 8, 8), "size": (9, 200, 100)},
        {"source": "snow \udcff.tif"},
    ],
)
def test_it_is_the_same_when_it_is_read_again(changes):
    there = about(**changes)
    text = json.dumps(there.to_dict())
    assert MapAbout.from_dict(json.loads(text)) == there


def test_a_frame_keeps_its_fractions():
    frame = about(frame={"origin": (Fraction(0), Fraction(7, 2)), "mpp": (0.25, 0.3)}).frame
    assert frame == {"origin": ["0", "7/2"], "mpp": [0.25, 0.3]}
    with pytest.raises(TypeError, match="cannot be an attribute of a map"):
        about(settings={"mask": object()})


def test_the_grid_counts_from_the_offset_and_over_what_was_padded():
    assert about().grid == Grid(SIZE, (32, 32), (8, 8))
    there = about(size=(100, 200), offset=(8, 16), padded=(4, 0))
    assert there.grid == Grid((96, 184), (32, 32), (8, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": "odds"}, "values='odds' must be one of scores, probabilities."),
        ({"kept": ()}, 'kept=() must be "all", numbers of classes, or ("top", k) with k of at'),
        ({"kept": ("top", 0)}, "kept=('top', 0) must be"),
        ({"kept": "some"}, "kept='some' must be"),
        ({"kept": (1, -1)}, "kept=(1, -1) must be"),
        ({"kept": (1, 1)}, "kept=(1, 1) names a class twice."),
        ({"offset": (1,)}, "must name the same number of axes."),
        ({"window": (32,)}, "must name the same number of axes."),
    ],
)
def test_what_fits_no_map_is_refused(changes, message):
    with pytest.raises(UsageError) as caught:
        about(**changes)
    assert message in str(caught.value)


def test_a_source_below_the_window_is_refused():
    with pytest.raises(InputError, match="smaller than the 32×32 window"):
        about(size=(31, 200))


def test_differences_name_both_values():
    old = about().to_dict()
    new = about(
        model="9" * 64,
        stride=(16, 8),
        kept=("top", 3),
        classes=("a", "b", "x", "d", "e", "f"),
        settings={"mask": "m" * 80, "precision": "float32"},
        source="another name.svs",
        made_by="fullconv 9",
    ).to_dict()
    assert list(differences(old, new)) == [
        "stride: 8×8 there, 16×8 now",
        "model: aaaaaaaa… there, 99999999… now",
        "name of class 2: c there, x now",
        "kept: all there, top 3 now",
        f"settings mask: none there, {'m' * 60}… now",
    ]
    assert list(differences(old, about(classes=("a",)).to_dict())) == [
        "names of classes: 6 there, 1 now"
    ]
    assert list(differences(old, about(classes=None).to_dict())) == [
        "names of classes: 6 there, none now"
    ]
    chosen = about(kept=(3, 1)).to_dict()
    assert list(differences(chosen, old)) == ["kept: 3, 1 there, all now"]
    assert list(differences(old, about(source="moved").to_dict())) == []
    assert old["model"] == MODEL
