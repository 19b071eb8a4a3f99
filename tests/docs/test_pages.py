"""What the pages say can be followed: the commands, links and pictures are there."""

from pathlib import Path
from urllib.parse import unquote

import pytest
from page_commands import commands_in, problems_of
from pages import NEEDS, ROOT, Block, all_pages, anchors_of, blocks_of, links_of, name_of

every_page = pytest.mark.parametrize("page", all_pages(), ids=name_of)
LANGUAGES = ("bash", "python", "text", "yaml", "json", "csv")


@every_page
def test_blocks_say_what_they_are_and_what_they_need(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in LANGUAGES, f"{block}: {block.language!r}"
        assert block.needs is None or block.needs in NEEDS, f"{block}: needs {block.needs!r}"


@every_page
def test_commands_are_those_that_there_are(page: Path, tmp_path: Path) -> None:
    assert not (found := problems_of(blocks_of(page), tmp_path)), "\n".join(found)


@every_page
def test_python_can_be_read(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "python":
            compile(block.text, str(block), "exec")


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for line, link in links_of(page):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / unquote(name)).resolve() if name else page
        assert target.exists(), f"{name_of(page)}:{line}: {link}"
        assert ROOT in target.parents, f"{name_of(page)}:{line}: {link} is outside the repository"
        if anchor:
            assert anchor in anchors_of(target), f"{name_of(page)}:{line}: no heading for {link}"


def bash(text: str, needs: str | None = None) -> Block:
    return Block(ROOT / "README.md", 1, "bash", text, needs)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recllm rum demo", "rum"),
        ("recllm run demo --dryrun", "--dryrun"),
        ("recllm sid extend runs/demo", "--items"),
        ("ls\nrecllm run dmo", "did you mean 'demo'"),
        ("cd x && recllm run demo sft.epochs=3", "sft.epochs"),
        ("recllm run mine.yaml", "no recipe 'mine.yaml'"),
        ("cat > mine.yaml <<'EOF'\nextends: demo\nsede: 1\nEOF\nrecllm run mine.yaml", "seed"),
        ("recllm recipes cp nothing mine.yaml", "nothing"),
        ("recllm run demo \\\n  data.path=…", "mark the block"),
        ("X=1 accelerate launch -m recllm.train demo rl.beams=3", "rl"),
        ("python -m benchmarks.nothing", "no such module"),
        ("make tset", "no target tset"),
        ("pip install '.[gpu]'", "no extra gpu"),
        ("reclm run demo", "no program"),
    ],
)
def test_a_wrong_command_is_found(text: str, said: str, tmp_path: Path) -> None:
    (problem,) = problems_of([bash(text)], tmp_path)
    assert said in problem


def test_a_page_may_write_its_recipe_and_leave_gaps_where_it_says_so(tmp_path: Path) -> None:
    written = bash("cat > a.yaml <<'EOF'\nextends: demo\nseed: 1\nEOF\n")
    copied = bash("recllm recipes cp base/quickstart b.yaml")
    used = bash("recllm run a.yaml seed=2 && recllm run b.yaml --dry-run | head -3")
    marked = bash("recllm run yours.yaml data.path=… sft.batch_size=64", "set-up")
    assert not problems_of([written, copied, used, marked], tmp_path)
    wrong = bash("recllm run demo data.path=… sft.batchsize=64", "gpu")
    assert "did you mean 'batch_size'" in problems_of([wrong], tmp_path)[0]


def test_a_comment_of_needs_must_stand_before_a_block(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- needs: gpu -->\n\n```bash\nls\n```\n")
    with pytest.raises(ValueError, match="must stand before a block"):
        blocks_of(page)


def test_words_of_commands() -> None:
    script = "A=1 B=2 recllm run 'x y' \\\n  k=v   # why\nls; cat f | head -1\n"
    assert list(commands_in(script)) == [
        ["recllm", "run", "x y", "k=v"], ["ls"], ["cat", "f"], ["head", "-1"],
    ]  # fmt: skip
