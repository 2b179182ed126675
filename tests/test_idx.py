"""The IDX format, byte for byte as its page describes it."""

import gzip
import math
import struct

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from striate.datasets.idx import read_idx, read_idx_part, write_idx
from striate.errors import DataError, UsageError

# By hand from the format's page: type, sizes 2 and 3, six values.
INT16 = bytes.fromhex("00000b02 00000002 00000003 0000 0001 ffff 7fff 8000 0102")
INT16_VALUES = [[0, 1, -1], [32767, -32768, 258]]

DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.float32, torch.float64)


@pytest.fixture
def pair(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    write_idx(images, torch.arange(7 * 5 * 3, dtype=torch.uint8).reshape(7, 5, 3))
    write_idx(labels, torch.tensor([2, 0, 1, 3, 3, 0, 1], dtype=torch.uint8))
    return images, labels


def test_a_file_written_by_hand_is_read(tmp_path):
    (tmp_path / "file").write_bytes(INT16)
    values = read_idx(tmp_path / "file")
    assert values.dtype == torch.int16
    assert values.tolist() == INT16_VALUES


def test_the_writer_gives_the_bytes_of_the_page(tmp_path):
    write_idx(tmp_path / "file", torch.tensor(INT16_VALUES, dtype=torch.int16))
    assert (tmp_path / "file").read_bytes() == INT16


@pytest.mark.parametrize("name", ["file", "file.gz"])
@pytest.mark.parametrize("shape", [(), (7,), (0, 3), (5, 1, 3), (2, 3, 1, 5, 7)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_and_rank_comes_back_equal(tmp_path, dtype, shape, name):
    torch.manual_seed(7)
    values = (torch.randn(shape, dtype=torch.float64) * 50).to(dtype)
    write_idx(tmp_path / name, values)
    back = read_idx(tmp_path / name)
    assert back.dtype == dtype
    assert back.shape == shape
    assert torch.equal(back, values)


def test_a_transposed_tensor_is_written_in_its_logical_order(tmp_path):
    values = torch.arange(15, dtype=torch.int32).reshape(3, 5).T
    write_idx(tmp_path / "file", values)
    assert torch.equal(read_idx(tmp_path / "file"), values)


def test_gzip_is_known_by_its_content_and_not_by_its_name(tmp_path):
    (tmp_path / "packed").write_bytes(gzip.compress(INT16))
    (tmp_path / "plain.gz").write_bytes(INT16)
    assert read_idx(tmp_path / "packed").tolist() == INT16_VALUES
    assert read_idx(tmp_path / "plain.gz").tolist() == INT16_VALUES


def test_a_file_cut_anywhere_is_refused(tmp_path):
    for length in range(len(INT16)):
        (tmp_path / "file").write_bytes(INT16[:length])
        with pytest.raises(DataError, match=r"cut short|begins with"):
            read_idx(tmp_path / "file")


def test_a_gzip_file_cut_anywhere_is_refused(tmp_path):
    packed = gzip.compress(INT16)
    for length in range(2, len(packed)):
        (tmp_path / "file").write_bytes(packed[:length])
        with pytest.raises(DataError, match=f"damaged gzip file of {length} bytes"):
            read_idx(tmp_path / "file")


def test_a_flipped_bit_inside_gzip_is_refused(tmp_path):
    packed = bytearray(gzip.compress(INT16))
    packed[-12] ^= 1
    (tmp_path / "file").write_bytes(packed)
    with pytest.raises(DataError, match="damaged gzip"):
        read_idx(tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "begins with nothing, an IDX file with 00 00, one of 08, 09, 0b, 0c, 0d, 0e"),
        (b"<!doctype html>", "begins with 3c 21 64 6f"),
        (b"\0\0\x0a\x01" + bytes(5), "begins with 00 00 0a 01"),
        (b"\0\0\x08\x03" + bytes(11), "holds 15 bytes, and the header alone takes 16 for its rank"),
        (INT16[:-1], r"holds 23 bytes, and its header asks for 24 \(int16 of shape \(2, 3\)\)"),
        (INT16 + b"\0", "too long: it holds 25 bytes, and its header asks for 24"),
    ],
)
def test_what_is_not_idx_is_refused_with_what_came_and_what_is_needed(tmp_path, content, words):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_idx(tmp_path / "file")


@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 2**31, 2**32 - 1]), max_size=255),
    body=st.binary(max_size=9),
)
@example(sizes=[1] * 255, body=b"7")
@example(sizes=[0, 2**32 - 1, 2**32 - 1, 2**32 - 1], body=b"")
def test_any_header_gives_a_tensor_of_its_shape_or_a_refusal(tmp_path_factory, sizes, body):
    path = tmp_path_factory.getbasetemp() / "any-idx"
    path.write_bytes(struct.pack(f">HBB{len(sizes)}I", 0, 0x08, len(sizes), *sizes) + body)
    try:
        values = read_idx(path)
    except DataError:
        assert math.prod(sizes) != len(body) or max(sizes) > 2**30
    else:
        assert values.shape == tuple(sizes)
        assert values.flatten().tolist() == list(body)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"could not read .*nowhere: No such file"):
        read_idx(tmp_path / "nowhere")


def test_a_type_that_idx_lacks_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot hold int64; convert to one of uint8, int8"):
        write_idx(tmp_path / "file", torch.tensor([1]))
    assert not (tmp_path / "file").exists()


def test_images_and_labels_become_a_part(pair):
    part = read_idx_part(*pair, num_classes=4)
    assert part.images.shape == (7, 1, 5, 3)
    assert part.images.dtype == torch.uint8
    assert part.images[4, 0, 2, 1] == 4 * 15 + 2 * 3 + 1
    assert part.targets.tolist() == [2, 0, 1, 3, 3, 0, 1]
    assert part.targets.dtype == torch.int64


def test_a_part_owns_its_memory(pair):
    for values in read_idx_part(*pair, num_classes=4):
        assert values.is_contiguous()
        assert values.untyped_storage().nbytes() == values.nbytes
        values.zero_()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.zeros(6, dtype=torch.uint8), "holds 7 images, labels beside it 6 labels"),
        (torch.zeros(7, 1, dtype=torch.uint8), r"labels holds torch.uint8 of shape \(7, 1\)"),
        (torch.zeros(7, dtype=torch.float32), r"labels holds torch.float32 of shape \(7,\)"),
        (
            torch.tensor([0, 3, 4, 0, 9, 1, 1], dtype=torch.uint8),
            "labels: label 4 of image 2 is none of the classes 0 to 3",
        ),
        (torch.tensor([0, 0, 0, 0, 0, 0, -1], dtype=torch.int8), "label -1 of image 6"),
    ],
)
def test_labels_that_do_not_fit_the_images_are_refused(pair, labels, words):
    write_idx(pair[1], labels)
    with pytest.raises(DataError, match=words):
        read_idx_part(*pair, num_classes=4)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(7, 15, dtype=torch.uint8),
        torch.zeros(7, 5, 3, dtype=torch.float32),
        torch.zeros(0, 5, 3, dtype=torch.uint8),
    ],
)
def test_what_is_not_images_is_refused(pair, images):
    write_idx(pair[0], images)
    with pytest.raises(DataError, match=r"not images: torch.uint8 of shape \(N, H, W\)"):
        read_idx_part(*pair, num_classes=4)
