"""Which failures are the disk's."""

import errno
from pathlib import Path

import pytest

from recllm.artifacts import storage
from recllm.artifacts.storage import require_folder, writing
from recllm.errors import StorageError, UserError


def test_a_full_disk_is_recognised_by_number_and_by_text(tmp_path: Path) -> None:
    file = str(tmp_path / "weights")
    full = OSError(errno.ENOSPC, "No space left on device", file)
    for error in (full, RuntimeError("IoError: No space left on device (os error 28)")):
        with (
            pytest.raises(StorageError, match="no space is left") as caught,
            writing(tmp_path, "cache_dir"),
        ):
            raise error
        assert (file if error is full else str(tmp_path)) in str(caught.value)
        assert "set cache_dir" in str(caught.value)


def test_the_disk_that_is_named_is_that_of_the_file(tmp_path: Path) -> None:
    source, target = str(tmp_path / "cache" / "a"), str(tmp_path / "run" / "a")
    full = errno.ENOSPC, "No space left on device"
    for error, advised in (
        (OSError(*full, str(tmp_path / "tmp" / "a")), False),
        (OSError(*full, source, None, target), True),
    ):
        with (
            pytest.raises(StorageError) as caught,
            writing(tmp_path / "run", "output_dir"),
        ):
            raise error
        assert f"the disk of {error.filename2 or error.filename}: free some" in str(caught.value)
        assert ("set output_dir" in str(caught.value)) == advised


def test_a_failure_to_save_is_the_disks_where_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_probe", lambda _: errno.ENOSPC)
    with pytest.raises(StorageError, match="no space is left"), writing(tmp_path, "cache_dir"):
        raise RuntimeError("PytorchStreamWriter failed writing file")


def test_other_failures_are_left_alone(tmp_path: Path) -> None:
    for error in (ValueError("a bug"), UserError("a mistake"), PermissionError(13, "no", "/x")):
        with pytest.raises(type(error)) as caught, writing(tmp_path, "cache_dir"):
            raise error
        assert caught.value is error


def test_a_folder_setting_must_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    require_folder(tmp_path / "new" / "folder", "cache_dir")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="cache_dir: expected a folder"):
            require_folder(path, "cache_dir")
