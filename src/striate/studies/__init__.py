"""Studies: comparisons that a paper makes, done again by one command."""

from collections.abc import Mapping

# Name of a study → what it compares, for the help of the command line.
STUDIES: Mapping[str, str] = {
    "denker1988": "nearest neighbours, Parzen windows and a network, on features and on bitmaps",
}
