"""Text of any origin, made fit for drawings and pages."""

from xml.etree import ElementTree

from striate.lettering import legal, shorten


def test_of_all_characters_exactly_those_an_xml_reader_accepts_stay():
    for code in [*range(0x300), *range(0xD7F0, 0xE010), *range(0xFFF0, 0x10010), 0x10FFFF]:
        try:
            ElementTree.fromstring(
                f"<a>{chr(code)}</a>".encode() if chr(code) not in "<&" else "<a/>"
            )
            accepted = True
        except (UnicodeEncodeError, ElementTree.ParseError):
            accepted = False
        assert (legal(chr(code)) == chr(code)) == accepted, hex(code)
        assert len(legal(chr(code))) == 1


def test_a_text_that_fits_stays_and_a_longer_one_is_cut_to_the_length_asked_for():
    assert shorten("seven77", 7) == "seven77"
    assert shorten("eight888", 7) == "eight8…"
