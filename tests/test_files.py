"""Files: what is written is what is read, whole or not at all."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from xpnet.files import tensors

ARRAYS = {
    "theta": np.arange(6.0).reshape(2, 3),
    "half": np.linspace(0, 1, 5, dtype=np.float32)[::2],
    "step": np.array(7),
    "none": np.zeros((0, 3)),
    "true": np.array([True, False, True]),
    "key": np.array([1, 2], dtype=np.uint32),
}


def same(arrays, others):
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert others[name].dtype == array.dtype, name
        np.testing.assert_array_equal(others[name], array)
        assert others[name].shape == array.shape, name


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors.write(path, ARRAYS, {"kind": "model", "lr": 0.1})
    return path


# ---- the format


def test_what_is_written_is_read_again(file):
    arrays, header = tensors.read(file)
    same(ARRAYS, arrays)
    assert header == {"kind": "model", "lr": 0.1}
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_the_package_safetensors_reads_it(file):
    with safe_open(file, framework="numpy") as opened:
        same(ARRAYS, {name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118
        metadata = opened.metadata()
    assert metadata["xpnet"] == '{"version": 1, "kind": "model", "lr": 0.1}'


def test_what_the_package_has_written_anew_is_read(file):
    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
    save_file({name: a.copy() for name, a in ARRAYS.items()}, file, metadata)
    same(ARRAYS, tensors.read(file)[0])


# ---- bad files


def bad(path, kind, *words):
    """A file that is refused, in one sentence that names it."""
    with pytest.raises(kind) as caught:
        tensors.read(path)
    said = str(caught.value)
    assert str(path) in said and said.endswith(".") and "\n" not in said
    assert all(word in said for word in words), said


def test_a_file_cut_off_anywhere_is_refused(file):
    whole = file.read_bytes()
    for length in {*range(12), *random.Random(0).sample(range(len(whole)), 60)}:
        file.write_bytes(whole[:length])
        bad(file, ValueError)
    file.write_bytes(whole + b"\0")
    bad(file, ValueError, "damaged")


def test_a_file_with_any_byte_changed_is_refused(file):
    whole = file.read_bytes()
    draw = random.Random(1)
    for place in {*range(16), *draw.sample(range(len(whole)), 200)}:
        damaged = bytearray(whole)
        damaged[place] ^= draw.randrange(1, 256)
        file.write_bytes(damaged)
        if chr(whole[place]).isspace() and chr(damaged[place]).isspace():
            same(ARRAYS, tensors.read(file)[0])  # to JSON one is as good as the other
        else:
            bad(file, ValueError)


def test_what_is_no_file_of_xpnet_is_refused(tmp_path):
    path = tmp_path / "b"
    bad(path, FileNotFoundError)
    bad(tmp_path, IsADirectoryError)
    path.touch()
    bad(path, ValueError, "is empty")
    path.write_bytes(b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x05hello\x94.")  # a pickle
    bad(path, ValueError, "in the format safetensors")
    save_file({"weight": np.zeros(3)}, path)
    bad(path, ValueError, "no network", "from_torch")
    tensors.write(path, {}, {"version": 2})
    bad(path, ValueError, "the version 2; update xpnet")
    nested = b'{"a":' * 20000
    path.write_bytes(len(nested).to_bytes(8, "little") + nested)
    bad(path, ValueError, "no JSON")
    with pytest.raises(TypeError, match="path must be a path, not 3"):
        tensors.read(3)


# ---- a file that cannot be written


def test_what_cannot_be_written_leaves_what_was_there(file):
    before = file.read_bytes()
    with pytest.raises(TypeError, match="z must hold numbers that safetensors has, not complex"):
        tensors.write(file, {"z": np.zeros(2, dtype=complex)}, {})
    with pytest.raises(FileNotFoundError, match=r"path must be a file that can be written, not "):
        tensors.write(file / ".." / "none" / "b", ARRAYS, {})
    with pytest.raises(OSError, match=r"Is a directory|there, and no file"):
        tensors.write(file.parent, ARRAYS, {})
    with pytest.raises(FileExistsError, match="there, and no file"):
        tensors.write(os.devnull, ARRAYS, {})
    assert file.read_bytes() == before
    assert [one.name for one in file.parent.iterdir()] == [file.name]


@pytest.mark.program
@pytest.mark.skipif(sys.platform == "win32", reason="this system has no such limits")
def test_a_full_disk_leaves_what_was_there(file):
    before = file.read_bytes()
    code = (
        "import resource, sys, numpy as np; from xpnet.files import tensors;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16));"
        "tensors.write(sys.argv[1], {'a': np.zeros(1 << 16)}, {})"
    )
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True)
    said = f"path must be a file that can be written, not {str(file)!r} (File too large)."
    assert done.stderr.splitlines()[-1] == f"OSError: {said}"
    assert file.read_bytes() == before
    assert [one.name for one in file.parent.iterdir()] == [file.name]
