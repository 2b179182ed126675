"""The curve of the finder, read back."""

from xml.etree import ElementTree

from striate.rate_drawing import rate_curve


def test_points_stand_at_the_logarithm_of_their_rate_and_marks_inside():
    rates, losses = [1e-4, 1e-3, 1e-2], [2.0, 1.0, 9.0]
    drawing = ElementTree.fromstring(
        rate_curve(rates, losses, [2.0, 1.5, 1.0], {"in": 1e-3, "out": 1.0}, title="a < b")
    )
    raw, smooth = (e for e in drawing.iter() if e.tag.endswith("polyline"))
    places = [tuple(map(float, point.split(","))) for point in smooth.get("points").split()]
    assert [x for x, _ in places] == [64, 344, 624]
    assert places[0][1] < places[1][1] < places[2][1]
    assert raw.get("points").endswith("624.0,64.0")  # cut at the top
    words = [e.text for e in drawing.iter() if e.tag.endswith("text")]
    assert "a < b" in words
    assert "in 0.001" in words
    assert not any(word.startswith("out") for word in words)
