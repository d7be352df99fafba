import numpy as np
import PIL.Image
import pytest

from fullconv.errors import InputError, UsageError
from fullconv.evaluate.lattice import Layer
from fullconv.evaluate.pictures.colors import colors
from fullconv.evaluate.pictures.overlay import FAINTEST, overlay, painted
from fullconv.geometry import Grid
from fullconv.storage.images import read_image

RNG = np.random.default_rng(3)


def photo(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def paint(image, scores, grid, title="", low=0.0, high=1.0, **options):
    return overlay(image, scores, grid, title=title, low=low, high=high, **options)


# ------------------------------------------------------------------------------------ the picture


def test_the_image_lies_in_the_box_at_its_own_scale():
    image = photo(90, 140)
    grid = Grid((90, 140), (32, 32), (8, 8))
    made = paint(image, np.zeros(grid.shape), grid, "tabby cat", opacity=0)
    top, left, bottom, right = made.box
    assert (bottom - top, right - left) == (90, 140)
    np.testing.assert_array_equal(np.asarray(made.picture)[top:bottom, left:right], image)
    np.testing.assert_array_equal(np.asarray(made.image()), image)


def test_pixels_in_no_window_are_left_alone():
    image = photo(50, 61)
    grid = Grid((50, 61), (16, 16), (8, 8))  # the last windows end at 48 and 56
    seen = np.asarray(paint(image, np.ones(grid.shape), grid).image())
    np.testing.assert_array_equal(seen[48:], image[48:])
    np.testing.assert_array_equal(seen[:, 56:], image[:, 56:])
    assert (seen[:48, :56] != image[:48, :56]).any(axis=2).mean() > 0.99


def test_the_tint_is_that_of_the_score():
    image = photo(9, 9)
    grid = Grid((9, 9), (5, 5), (4, 4))  # windows centred on pixels 2 and 6
    scores = np.array([[0.0, 1.0], [0.5, 0.25]])
    seen = np.asarray(paint(image, scores, grid, opacity=0.8).image())
    for (row, col), score in np.ndenumerate(scores):
        strength = 0.8 * (FAINTEST + (1 - FAINTEST) * score * (2 - score))
        place = 2 + 4 * row, 2 + 4 * col
        expected = image[place] * (1 - strength) + colors(score) * strength
        assert np.abs(seen[place] - expected).max() < 1
    # Beyond the outermost centres the nearest score holds.
    flat = np.asarray(paint(np.zeros_like(image), scores, grid).image())
    np.testing.assert_array_equal(flat[:3, :3], np.broadcast_to(flat[2, 2], (3, 3, 3)))


def test_scores_beyond_the_range_look_like_its_ends():
    image = photo(16, 16)
    grid = Grid((16, 16), (8, 8), (8, 8))
    inside = paint(image, np.array([[0.0, 1.0], [1.0, 0.0]]), grid).image()
    beyond = paint(image, np.array([[-9.0, 1e9], [4.0, -1e-9]]), grid)
    corners = [(0, 0), (0, 15), (15, 0), (15, 15)]
    assert [beyond.image().getpixel(c) for c in corners] == [inside.getpixel(c) for c in corners]


def test_blocks_leave_no_seams(monkeypatch):
    image, grid = photo(61, 40), Grid((61, 40), (9, 8), (5, 3))
    scores = RNG.random(grid.shape)
    whole = np.asarray(paint(image, scores, grid).picture)
    monkeypatch.setattr("fullconv.evaluate.pictures.overlay.BLOCK", 200)
    np.testing.assert_array_equal(np.asarray(paint(image, scores, grid).picture), whole)


def test_image_and_scores_are_not_changed():
    image, grid = photo(30, 30), Grid((30, 30), (8, 8), (4, 4))
    scores = RNG.random(grid.shape).astype(np.float32)
    before = image.copy(), scores.copy()
    image.flags.writeable = scores.flags.writeable = False
    paint(image, scores, grid)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(scores, before[1])


def test_one_cell_tints_its_whole_window():
    image = np.full((30, 40, 3), 128, np.uint8)
    seen = np.asarray(paint(image, np.array([[0.7]]), Grid((30, 40), (24, 24), (32, 32))).image())
    assert len(np.unique(seen[:24, :24].reshape(-1, 3), axis=0)) == 1
    np.testing.assert_array_equal(seen[24:], image[24:])


def test_a_padded_grid_is_drawn_on_the_image_before_padding():
    """cover=True pads 50×61 px to 56×64, so that whole windows reach every pixel."""
    image, grid = photo(50, 61), Grid((56, 64), (16, 16), (8, 8))
    made = paint(image, RNG.random(grid.shape), grid)
    assert made.image().size == (61, 50)
    small = paint(photo(10, 61), RNG.random((1, 7)), Grid((16, 64), (16, 16), (8, 8)))
    assert small.image().size == (61, 10)


def test_half_precision_and_integer_scores_are_welcome():
    image, grid = photo(16, 16), Grid((16, 16), (8, 8), (8, 8))
    scores = np.array([[0, 1], [1, 0]])
    pictures = [
        np.asarray(paint(image, scores.astype(dtype), grid).picture)
        for dtype in (np.float64, np.float32, np.float16, np.int64)
    ]
    for picture in pictures[1:]:
        np.testing.assert_array_equal(picture, pictures[0])


def test_the_bar_tells_when_scores_lie_beyond_its_range():
    image, grid = photo(200, 300), Grid((200, 300), (200, 150), (1, 150))
    inside, outside = (paint(image, np.array([[0.0, x]]), grid).picture for x in (1.0, 1.1))
    assert np.any(np.asarray(inside) != np.asarray(outside))


def test_several_layers_are_painted_as_their_mean():
    image = photo(40, 50)
    one, two = Grid((40, 50), (8, 8), (4, 4)), Grid((20, 25), (8, 8), (4, 4))
    layers = [
        Layer(np.full(one.shape, 0.2), one, (40, 50)),
        Layer(np.full(two.shape, 0.6), two, (20, 25)),
    ]
    seen = np.asarray(painted(image, layers, title="").image())
    alone = np.asarray(paint(image, np.full(one.shape, 0.4), one).image())
    first = np.asarray(paint(image, np.full(one.shape, 0.2), one).image())
    # The smaller one's windows end at 20 of 20 px, and at 24 of 25: the middles of 48 px.
    np.testing.assert_array_equal(seen[:, :48], alone[:, :48])
    np.testing.assert_array_equal(seen[:, 48:], first[:, 48:])


@pytest.mark.parametrize("size", [(64, 50), (2250, 400)])
def test_boxes_are_outlined_along_their_inside(size):
    image = np.full((*size, 3), 128, np.uint8)
    grid = Grid(size, (16, 16), (8, 8))
    layers = [Layer(np.zeros(grid.shape), grid, size)]
    boxes = [(10, 20, 40, 45), (0, 0, *size)]
    plain, seen = (
        np.asarray(painted(image, layers, title="x", boxes=given).image()).astype(int)
        for given in ((), boxes)
    )
    white = (seen == 255).all(axis=2)
    for top, left, bottom, right in boxes:
        for line in (
            white[top, left:right], white[bottom - 1, left:right],
            white[top:bottom, left], white[top:bottom, right - 1],
        ):  # fmt: skip
            assert line.all()
    np.testing.assert_array_equal(seen[16:34, 26:39], plain[16:34, 26:39])
    assert seen[9, 30].max() < 50  # a dark rim, outside
    np.testing.assert_array_equal(seen[45:48, 4:-4], plain[45:48, 4:-4])


# ------------------------------------------------------------------------------- what goes wrong

IMAGE = np.zeros((16, 16, 3), np.uint8)
GRID = Grid((16, 16), (8, 8), (8, 8))


def test_scores_that_are_not_finite_are_counted():
    scores = np.array([[np.nan, 1.0], [np.inf, np.nan]])
    with pytest.raises(InputError, match=r"3 of 4 scores are not finite \(NaN or infinite\)") as e:
        paint(IMAGE, scores, GRID)
    assert str(e.value).endswith("Look for NaN in the weights, or for overflow in half precision.")


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (IMAGE[..., 0], "uint8 of shape (16, 16)"),
        (IMAGE[..., :1], "uint8 of shape (16, 16, 1)"),
        (IMAGE.astype(np.float32), "float32 of shape (16, 16, 3)"),
    ],
)
def test_images_must_be_eight_bit_colour(image, found):
    with pytest.raises(UsageError) as caught:
        paint(image, np.zeros((2, 2)), GRID)
    assert str(caught.value) == f"the image is {found}; (H, W, 3) uint8 is needed."


def test_scores_must_fit_the_grid():
    with pytest.raises(UsageError, match=r"shape \(3, 2\), but the grid has 2×2 cells\.\nPass the"):
        paint(IMAGE, np.zeros((3, 2)), GRID)
    with pytest.raises(UsageError, match=r"shape \(2,\), but the grid has 2 cells"):
        paint(IMAGE, np.zeros(2), Grid((16,), (8,), (8,)))


@pytest.mark.parametrize("size", [(24, 16), (16, 24), (8, 16), (17, 16)])
def test_the_grid_must_be_that_of_the_image(size):
    image = np.zeros((*size, 3), np.uint8)
    with pytest.raises(UsageError) as caught:
        paint(image, np.zeros((2, 2)), GRID)
    assert str(caught.value) == (
        f"the image is {size[0]}×{size[1]} px, but the grid belongs to one of 16×16.\n"
        "Only with cover=True is a grid larger, and just enough for whole windows. "
        "Pass the image that was scored."
    )


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, np.inf), (np.nan, 1)])
def test_low_must_be_less_than_high(low, high):
    with pytest.raises(UsageError, match=f"low={low:g} must be less than high={high:g}, and both"):
        paint(IMAGE, np.zeros((2, 2)), GRID, low=low, high=high)


@pytest.mark.parametrize("opacity", [-0.1, 1.5, np.nan])
def test_opacity_lies_between_zero_and_one(opacity):
    with pytest.raises(UsageError, match=f"opacity={opacity:g} must lie between 0 and 1"):
        paint(IMAGE, np.zeros((2, 2)), GRID, opacity=opacity)


# ------------------------------------------------------------------------------------- real files


def test_a_real_photo_of_4000_px(data):
    image = read_image(data / "photos" / "drone_4000x2250.jpg").pixels
    grid = Grid((2250, 4000), (224, 224), (32, 32))
    scores = np.zeros(grid.shape, np.float32)
    scores[-1, -1] = 1
    seen = np.asarray(paint(image, scores, grid, "parking lot").image()).astype(int)
    base = np.asarray(paint(image, scores * 0, grid, "parking lot").image())
    changed = np.argwhere((seen != base).any(axis=2))
    # One cell reaches one stride from its centre, and from the outermost centre to the last px
    # that a window covers.
    top, left, bottom, right = grid.box(*(n - 1 for n in grid.shape))
    assert changed.min(axis=0).tolist() == pytest.approx([top + 80, left + 80], abs=2)
    assert changed.max(axis=0).tolist() == [bottom - 1, right - 1]
    assert PIL.Image.fromarray(base).size == (4000, 2250)
