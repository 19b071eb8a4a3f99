"""Pushing, through the Hub's own client and a stand-in of the Hub."""

import logging
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_hub import TOKEN, LocalHub, Repository

from recllm.errors import UserError
from recllm.hub.upload import Pushed, require_repo_name, upload

Files = dict[str, Path | bytes]
SMALL: Files = {"recllm.json": b"{}", "recipe.yaml": b"seed: 0\n"}


def push(files: Files, revision: str | None = None) -> Pushed:
    return upload(files, "ann/shop", private=False, revision=revision)


def repository(hub: LocalHub) -> Repository:
    return hub.repository("ann/shop")


def contents(hub: LocalHub, branch: str = "main") -> dict[str, bytes]:
    """What a branch holds but for the Hub's own file."""
    found = repository(hub).find(branch)
    assert found is not None
    return {p: f.content for p, f in found.files.items() if p != ".gitattributes"}


def read(files: Files) -> dict[str, bytes]:
    return {p: c.read_bytes() if isinstance(c, Path) else c for p, c in files.items()}


@pytest.mark.parametrize("part_bytes", [None, 30_000])
def test_a_new_repository_holds_the_files(
    hub: LocalHub, files: Files, part_bytes: int | None
) -> None:
    hub.part_bytes = part_bytes
    pushed = push(files)
    head = repository(hub).head
    url, sent = f"{hub.url}/ann/shop/commit/{head.oid}", sum(map(len, read(files).values()))
    assert pushed == Pushed(url, tuple(sorted(files)), (), (), sent)
    assert len(repository(hub).commits) == 2, "the Hub's own, and one for all the files"
    assert {p for p, f in head.files.items() if f.lfs} == {"model.safetensors", "items.parquet"}
    found = Path(snapshot_download("ann/shop"))
    for name, content in read(files).items():
        assert (found / name).read_bytes() == content
    assert hub.count("PUT", "/put/") == (2 if part_bytes is None else 5)


def test_only_what_changed_is_sent_again(hub: LocalHub, files: Files, tmp_path: Path) -> None:
    push(files)
    before = repository(hub).head
    hub.requests.clear()
    same = push(files)
    assert same == Pushed(None, (), tuple(sorted(files)), (), 0)
    assert {request.method for request in hub.requests} == {"GET"}
    assert repository(hub).head is before

    files["recipe.yaml"] = b"seed: 1\n"
    changed = push(files)
    assert (changed.added, changed.sent) == (("recipe.yaml",), len("seed: 1\n"))
    assert hub.count("PUT", "/put/") == hub.count("POST", "lfs/objects/batch") == 0
    assert repository(hub).head.parent == before.oid

    (tmp_path / "model.safetensors").write_bytes(b"other")
    hub.requests.clear()
    assert push(files).added == ("model.safetensors",)
    assert [r.body for r in hub.requests if r.method == "PUT"] == [b"other"]


def test_large_files_are_sent_one_by_one_as_all_at_once(
    hub: LocalHub, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(files)
    at_once = contents(hub)
    hub.repos.clear()
    hub.requests.clear()
    monkeypatch.setattr("recllm.hub.upload.LARGE", 4)
    push(files, "v2")
    assert contents(hub, "v2") == at_once and not contents(hub)
    asked = [r for r in hub.requests if "/objects/batch" in r.path]
    assert [len(request.json()["objects"]) for request in asked] == [1, 1]
    assert hub.count("PUT", "/put/") == 2
    commits = [request for request in hub.requests if "/commit/" in request.path]
    assert len(commits) == 1 and commits[0] is hub.requests[-1]


def test_what_an_earlier_push_left_is_deleted_and_nothing_else(hub: LocalHub, files: Files) -> None:
    of_others = {"LICENSE": b"x", "images/report.png": b"x", "onnx/config.json": b"x"}
    hub.repos["ann/shop"] = Repository.new(
        {**read(files), "manifests/rl.json": b"{}", "manifests/old/a.json": b"x", **of_others}
    )
    adapter: Files = {**SMALL, "README.md": b"---\na: 1\n---\n", "adapter_model.safetensors": b"w"}
    stale = ["empty.json", "items.parquet", "manifests/rl.json", "manifests/sft.json"]
    assert push(adapter).deleted == (*stale, "model.safetensors")
    assert contents(hub) == {**adapter, "manifests/old/a.json": b"x", **of_others}


NAMES = ["a.json", "b.safetensors", "recipe.yaml", "manifests/a.json", "NOTES", "x/b.json"]
TREES = st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=3), max_size=5)


@given(st.lists(TREES, min_size=1, max_size=4))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_each_push_the_branch_holds_it(hub: LocalHub, trees: list[dict[str, bytes]]) -> None:
    hub.repos.clear()
    before: dict[str, bytes] = {}
    for tree in trees:
        given = {**tree, "recllm.json": b"{}"}
        after = {p: c for p, c in before.items() if p in ("NOTES", "x/b.json")} | given
        pushed = push(dict(given))
        assert contents(hub) == after
        assert set(pushed.added) == {p for p, c in given.items() if before.get(p) != c}
        assert set(pushed.unchanged) == given.keys() - set(pushed.added)
        assert set(pushed.deleted) == before.keys() - after.keys()
        assert (pushed.url is None) == (before == after)
        before = after


def test_a_branch_is_made_of_main_and_pushed_to(hub: LocalHub) -> None:
    push(SMALL)
    main = repository(hub).head
    changed: Files = {**SMALL, "recipe.yaml": b"seed: 1\n"}
    assert push(changed, "v2/try").added == ("recipe.yaml",)
    changed["recllm.json"] = b"{ }"
    assert push(changed, "v2/try").added == ("recllm.json",)
    assert repository(hub).head is main
    assert contents(hub, "v2/try") == changed
    assert push(SMALL, "main").url is None
    repository(hub).tags["v1"] = main.oid
    for name in ("v1", main.oid):
        with pytest.raises(UserError, match="expected a branch, but this is a tag or commit of"):
            push(changed, name)
    with pytest.raises(UserError, match=r"refuses it with status 400 \(Invalid reference"):
        push(changed, "refs/pr/1")


def test_visibility_is_chosen_once(hub: LocalHub, caplog: pytest.LogCaptureFixture) -> None:
    upload(SMALL, "ann/hidden", private=True, revision=None)
    assert hub.repository("ann/hidden").private
    assert push(SMALL).url and not repository(hub).private
    upload(SMALL, "ann/shop", private=True, revision=None)
    assert not repository(hub).private
    assert "--private is for a new repository; this one is public" in caplog.text


def test_another_tools_repository_is_left_alone(hub: LocalHub) -> None:
    hub.repos["ann/shop"] = Repository.new({"README.md": b"x", "pytorch_model.bin": b"x"})
    for revision in (None, "mine"):
        with pytest.raises(UserError, match=r"another tool: 1 file\(s\), such as pytorch_"):
            push(SMALL, revision)
    assert {request.method for request in hub.requests} == {"GET"}
    hub.repos["ann/shop"] = Repository.new({"README.md": b"x", ".gitattributes": b"x"})
    assert push(SMALL).url


@pytest.mark.parametrize("name", ["shop", "ann/shop/x", "ann/", "../shop", "ann/sh op"])
def test_names_that_no_repository_has(name: str) -> None:
    with pytest.raises(UserError, match=r"--repo .*: expected user/name"):
        require_repo_name(name)
    with pytest.raises(UserError, match="--repo ann/shop --revision v1"):
        require_repo_name("ann/shop@v1")


def test_the_token_goes_to_the_hub_alone(
    hub: LocalHub, files: Files, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    pushed = push(files)
    hub.readers.add(TOKEN)
    files["recipe.yaml"] = b""
    with pytest.raises(UserError) as refused:
        push(files)
    assert "/ann/shop.git/info/lfs/objects/batch" in caplog.text, "the client's own log is here"
    captured = capfd.readouterr()
    for text in (caplog.text, captured.out, captured.err, str(refused.value), repr(pushed)):
        assert TOKEN not in text
    assert all(TOKEN.encode() not in content for content in contents(hub).values())
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        assert TOKEN.encode() not in path.read_bytes(), path
    shown = {(request.token, request.path.startswith("/put/")) for request in hub.requests}
    assert shown == {(TOKEN, False), (None, True)}
