import html.parser
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from recllm.eval.report import ReportInputs, write_report
from recllm.eval.report.verdict import judge
from recllm.results.estimates import sort_metrics
from recllm.results.formats import quantity
from recllm.results.markdown import escape, table_lines
from recllm.results.tables import Cell, Table

VOID = {"meta", "br", "hr", "img", "link", "input"}
ATTACK = "<script>alert('x')</script> & \"quoted\" | piped"


def entry(value: float, width: float = 0.01) -> dict[str, Any]:
    return {"value": value, "ci95": [value - width, value + width], "n": 500}


def scores(scale: float) -> dict[str, Any]:
    hits = {f"hit@{k}": entry(scale * k**0.4) for k in (1, 5, 10, 50)}
    return hits | {"ndcg@10": entry(scale * 1.5), "mrr@50": entry(scale * 1.2)}


def difference(hit: float, ndcg: float) -> dict[str, Any]:
    return {"hit@10": entry(hit), "ndcg@10": entry(ndcg)}


def make_slices(*labels: str) -> list[dict[str, Any]]:
    baselines = {"popularity": scores(0.03), "covisitation": scores(0.06)}
    return [
        {"label": label, "n": 250, "model": scores(0.08), "baselines": baselines}
        for label in labels
    ]


SPEED = {
    "samples_per_second": 12.3456,
    "tokens_per_second": 1234.5,
    "mfu": 0.3125,
    "peak_memory_bytes": 3 * 2**30,
}
STATISTICS: dict[str, Any] = {
    "log": {
        "users": 500,
        "items": 300,
        "density": 0.033,
        "lengths": {"min": 5.0, "median": 8.0, "max": 90.0},
        "repeat_rate": 0.125,
        "approximate_entropy": {"per_sequence_m2": 0.2, "pooled_m1": 3.25},
        "first_time": 0,
        "last_time": 86_400,
        "duplicates": 7,
        "order_only": False,
    },
    "split": {"name": "leave-one-out", "train": 4000, "test": 500, "test_cold_share": 0.02},
    "leaks": [{"fault": "rows of test have no history", "count": 3, "row": 1}],
    "repeated_targets": {"train": 40, "valid": 4, "test": 5},
    "curves": {
        "sequences_by_length": [[5, 300], [10, 150], [15, 50]],
        "interactions_by_popularity": [[0.0, 0.0], [0.1, 0.4], [1.0, 1.0]],
        "interactions_over_time": [[0, 3000], [21_600, 2000]],
    },
}


PERPLEXITY = {
    "text": {"name": "a|b.txt", "sha256": "0" * 64, "bytes": 6000},
    "tokens": 1500,
    "start": "<|endoftext|>",
    "window": 2048,
    "stride": 1024,
    "checkpoint": {
        "perplexity": 15.0,
        "bits_per_byte": 0.9,
        "without_sids": {"perplexity": 12.5, "bits_per_byte": 0.8},
    },
    "base": {"name": "org/base", "perplexity": 10.0, "bits_per_byte": 0.75},
}
POPULARITY = {"model": [0.6, 0.4], "popularity": [0.975, 0.025], "targets": [0.5, 0.5]}


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    metrics = {
        "split": "test",
        "rows": 500,
        "settings": {"exclude_history": False, "beams": 50, "scoring": "vocab", "cutoffs": [1, 5]},
        "metrics": scores(0.08),
        "sid_metrics": scores(0.08),
        "baselines": {"popularity": scores(0.03), "covisitation": scores(0.06)},
        "paired": {"popularity": difference(0.12, 0.1), "covisitation": difference(0.05, 0.03)},
        "slices": {
            "history_length": make_slices("1–5", "6+"),
            "cold_target": make_slices("cold", "warm"),
        },
        "beyond_accuracy": {
            "model": {"coverage": 0.713, "gini": 0.61},
            "covisitation": {"coverage": 0.425},
        },
        "perplexity": PERPLEXITY,
        "invalid_rate": 0.0,
        "cost": {
            "seconds": 412.3,
            "peak_memory_bytes": 3 * 2**30,
            "prompt_tokens": 61_417,
            "training": {"seconds": 7200.0, "tokens_per_second": 1234.5},
        },
    }
    training = [{"step": step, "loss": 5 / step} for step in (10, 20, 30)]
    validation = [
        {"step": s, "eval_ndcg@10": s / 200, "eval_hit@10": s / 100} for s in (10, 20, 30)
    ]
    titles = [{"title": title, "score": -1.5, "hit": title == ATTACK} for title in ("b", ATTACK)]
    example = {
        "user_id": "<b>7</b>",
        "history_titles": [ATTACK, "unbroken" * 20],
        "target_title": ATTACK,
        "recommended": titles,
    }
    level = {"used": 8, "utilisation": 0.5, "perplexity": 7.1}
    return ReportInputs(
        name="demo <run>",
        recipe_yaml="seed: 0\nname: <demo>\n",
        metrics=metrics,
        training=[*training, *validation, {"step": 30, "train_loss": 1.0, **SPEED}],
        data_counts={"ingest": {"interactions": 5000}, "split": {"train": 4000, "test": 500}},
        statistics=STATISTICS,
        stages={"ingest": {"seconds": 1.5, "peak_memory_bytes": 2**28}},
        sid_health={"items": 300, "levels": [level, level], "collision_rate": 0.08},
        examples=[example],
        popularity=POPULARITY,
    )


@pytest.fixture(scope="module")
def rendered(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """report.html and report.md of the whole inputs."""
    return render(inputs, tmp_path_factory.mktemp("report"))


class Page(html.parser.HTMLParser):
    """Checks that elements nest, and keeps ids, resources and the text of headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self._keep(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._keep(attrs)

    def _keep(self, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names))
        assert not any(name.startswith("on") for name in names)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "srcset", "data"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def render(inputs: ReportInputs, folder: Path) -> tuple[str, str]:
    write_report(inputs, folder)
    return (folder / "report.html").read_text("utf-8"), (folder / "report.md").read_text("utf-8")


def test_page_is_well_formed_and_holds_every_section(rendered: tuple[str, str]) -> None:
    page = Page(rendered[0])
    wanted = "headline slices examples training beyond-accuracy perplexity data sids cost settings"
    wanted += " recipe"
    assert [i for i in page.ids if i in wanted.split()] == wanted.split()
    assert len(page.ids) == len(set(page.ids))
    assert {"svg", "table", "details"} <= page.tags


def test_conditions_stand_beside_every_set_of_figures(rendered: tuple[str, str]) -> None:
    text, markdown = rendered
    for key in ("headline", "slices", "examples", "beyond-accuracy"):
        conditions = "test split · 500 rows · exclude_history: false · scoring: vocab"
        assert conditions in section(text, key)
    assert markdown.count("exclude_history: false") == 3


def test_untrusted_text_is_escaped(inputs: ReportInputs, tmp_path: Path) -> None:
    slices = {"history_length": make_slices(ATTACK, "$x_1$")}
    metrics = {"metrics": {"hit@10": entry(0.2)}, "slices": slices}
    inputs = replace(inputs, metrics=metrics, training=())
    text, markdown = render(inputs, tmp_path)
    page = Page(text)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert ATTACK in page.text
    assert "$x_1$" in page.text
    assert "<script" not in markdown
    assert "&lt;script>alert('x')" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| &lt;script")]
    assert [line.replace(r"\|", "").count("|") for line in rows] == [6]


def test_page_loads_nothing(rendered: tuple[str, str]) -> None:
    text = rendered[0]
    page = Page(text)
    assert page.links
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    bare = text.replace('="http://www.w3.org/2000/svg"', "")
    bare = bare.replace('="http://www.w3.org/1999/xlink"', "")
    assert "http" not in bare.replace("http-equiv", "")
    assert "@import" not in bare


def test_equal_inputs_give_equal_bytes(
    inputs: ReportInputs, rendered: tuple[str, str], tmp_path: Path
) -> None:
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path"}):
        assert render(inputs, tmp_path) == rendered
        assert matplotlib.rcParams["font.size"] == 20


def section(text: str, key: str) -> str:
    return text.partition(f'id="{key}"')[2].partition("</section>")[0]


def rows_of(text: str) -> list[list[str]]:
    """The cells of a section's tables, row by row, without their small print."""
    text = re.sub(r'<span class="detail">.*?</span>', "", text, flags=re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    cells = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows)
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in cells]


def test_costs_of_training_and_evaluation_stand_side_by_side(rendered: tuple[str, str]) -> None:
    assert rows_of(section(rendered[0], "cost")) == [
        ["", "training", "evaluation"],
        ["time", "2.0 h", "6.9 min"],
        ["peak memory", "–", "3.0 GiB"],
        ["prompt tokens", "–", "61,417"],
        ["tokens per second", "1,234", "–"],
        ["stage", "time", "peak memory"],
        ["ingest", "1.5 s", "256 MiB"],
    ]


def test_how_fast_the_training_went_stands_below_its_curves(rendered: tuple[str, str]) -> None:
    assert rows_of(section(rendered[0], "training")) == [
        ["", "training"],
        ["samples per second", "12.35"],
        ["tokens per second", "1,234"],
        ["mfu", "31.25 %"],
        ["peak memory", "3.0 GiB"],
    ]


def test_baselines_stand_beside_the_model_beyond_accuracy(rendered: tuple[str, str]) -> None:
    assert rows_of(section(rendered[0], "beyond-accuracy")) == [
        ["", "this model", "co-visitation"],
        ["coverage", "71.3 %", "42.5 %"],
        ["gini", "0.61", "–"],
        ["invalid rate", "0 %", "–"],
    ]


def test_metrics_by_sid_stand_beside_those_by_item(inputs: ReportInputs, tmp_path: Path) -> None:
    shared = {**inputs.metrics, "sid_metrics": scores(0.1)}
    text, markdown = render(replace(inputs, metrics=shared), tmp_path)
    table = [row for row in rows_of(section(text, "headline")) if row[0].startswith("hit@")]
    assert ["hit@10", "0.2010", "0.2512", "0.0754", "0.1507"] in table
    assert "| this model, by SID | 0.2512 [0.2412, 0.2612] |" in markdown


def test_what_is_recommended_is_drawn_by_popularity(rendered: tuple[str, str]) -> None:
    text = section(rendered[0], "beyond-accuracy")
    assert "most popular first: this model, the targets" in text
    assert "; popularity, 97.5 % in the first tenth, is not drawn" in text


def test_general_language_stands_beside_the_base(inputs: ReportInputs, tmp_path: Path) -> None:
    text, markdown = render(inputs, tmp_path)
    assert rows_of(section(text, "perplexity"))[1:] == [
        ["perplexity, the whole vocabulary", "15", "10", "1.500"],
        ["perplexity, without SID tokens", "12.5", "–", "–"],
        ["bits per byte, the whole vocabulary", "0.9", "0.75", "1.200"],
        ["bits per byte, without SID tokens", "0.8", "–", "–"],
    ]
    assert "a|b.txt · 6,000 bytes · 1,500 tokens · windows of 2,048 by 1,024" in markdown
    assert "· base org/base\n" in markdown
    left_out = {"name": "org/base", "left_out": "it differs"}
    for base, said in ((left_out, "org/base, left out: it differs"), ({}, "trained from scratch")):
        metrics = {"perplexity": {**PERPLEXITY, "base": base}}
        text, markdown = render(ReportInputs("x", metrics=metrics), tmp_path)
        assert said in markdown
        assert rows_of(section(text, "perplexity"))[0] == ["", "this model"]


def test_the_log_is_described_and_drawn(rendered: tuple[str, str]) -> None:
    data = section(rendered[0], "data")
    rows = rows_of(data)
    for row in (
        ["users", "500"],
        ["repeat rate", "12.5 %"],
        ["approximate entropy pooled m1", "3.25"],
        ["last time", "1970-01-02 00:00"],
        ["duplicates", "7"],
        ["length max", "90"],
        ["test cold share", "2 %"],
        ["rows of test have no history", "3"],
        ["train targets that repeat", "40"],
        ["ingest", "interactions", "5,000"],
    ):
        assert row in rows
    assert data.count("<svg") == 3
    assert "the last bar holds all from 15 on" in data
    assert "Interactions over time, 6 hours a bar" in data
    assert "| density share of all pairs of user and item that occur | 0.033 |" in rendered[1]


def test_a_log_of_one_length_and_without_times_has_one_plot(tmp_path: Path) -> None:
    log = STATISTICS["log"] | {"order_only": True, "first_time": None, "last_time": None}
    popularity = STATISTICS["curves"]["interactions_by_popularity"]
    curves = {"sequences_by_length": [[5, 500]], "interactions_by_popularity": popularity}
    statistics = STATISTICS | {"log": log, "curves": curves, "leaks": []}
    data = section(render(ReportInputs("x", statistics=statistics), tmp_path)[0], "data")
    assert data.count("<svg") == 1
    assert ["time", "order only"] in rows_of(data) and ["leaks", "0"] in rows_of(data)


def test_times_that_are_no_dates_are_drawn_as_numbers(tmp_path: Path) -> None:
    bars = [[1_580_515_200_000, 3], [1_580_601_600_000, 4]]  # milliseconds
    curves = STATISTICS["curves"] | {"interactions_over_time": bars}
    statistics = STATISTICS | {"curves": curves}
    text = render(ReportInputs("x", statistics=statistics), tmp_path)[0]
    assert "interactions by time, as the log has it" in text


def test_sids_are_drawn_and_compared_with_chance(tmp_path: Path) -> None:
    level = {"codes": 4, "used": 3, "utilisation": 0.75, "perplexity": 2.5}
    curve = [[0, 0], [0.5, 0.9], [1, 1]]
    prefix = {"prefixes": 3, "same_category": {"found": 0.5, "chance": 0.125}, "covisited": None}
    health = {
        "items": 9, "levels": [level] * 3, "prefixes": [prefix, prefix | {"prefixes": 7}],
        "mse_before": None, "items_by_code": [curve] * 3, "traffic_by_first_code": curve,
    }  # fmt: skip
    text, _ = render(ReportInputs("x", sid_health=health), tmp_path)
    page = Page(text)
    assert text.count("<svg") == 2
    assert "by chance 12.5 %" in page.text and "prefix a–b" in page.text
    assert "interactions, level a" in text and "items, level c" in text
    assert "neighbours, a" not in text  # none were found
    assert "mse before" not in page.text
    titles = {"items": 9, "levels": [], "prefixes": [], "items_by_code": [], "moved": 2,
              "traffic_by_first_code": [], "fullest_prefix_traffic": None}  # fmt: skip
    text, _ = render(ReportInputs("x", sid_health=titles), tmp_path)
    assert "<svg" not in text and "Semantic IDs" in text


PARTS = {
    "metrics": ("headline", "slices", "beyond-accuracy", "cost", "settings"),
    "training": ("training",),
    "stages": ("cost",),
    "data_counts": ("data",),
    "statistics": ("data",),
    "sid_health": ("sids",),
    "examples": ("examples",),
    "recipe_yaml": ("recipe",),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_stands_alone(inputs: ReportInputs, tmp_path: Path, part: str) -> None:
    page = Page(render(replace(ReportInputs("x"), **{part: getattr(inputs, part)}), tmp_path)[0])
    sections = {key for keys in PARTS.values() for key in keys}
    assert sections & set(page.ids) == set(PARTS[part])


KEYS = ("settings", "sid_metrics", "baselines", "paired", "slices", "beyond_accuracy", "cost")


@pytest.mark.parametrize("key", [*KEYS, "invalid_rate", "split", "rows"])
def test_any_part_of_the_metrics_may_be_missing(
    inputs: ReportInputs, tmp_path: Path, key: str
) -> None:
    metrics = {"metrics": {"hit@10": entry(0.2)}, key: inputs.metrics[key]}
    page = Page(render(ReportInputs("x", metrics=metrics), tmp_path)[0])
    assert "hit@10 0.2000" in page.text


def test_nothing_but_a_name(tmp_path: Path) -> None:
    text, markdown = render(ReportInputs("x"), tmp_path)
    assert "<section" not in text
    assert markdown.strip() == "# x"


def test_values_that_are_not_there_are_dashes(tmp_path: Path) -> None:
    empty = {"label": "cold", "n": 0, "model": {}, "baselines": {"popularity": {}}}
    slices = {"cold_target": [*make_slices("warm"), empty]}
    metrics = {"metrics": {"hit@10": entry(0.2)}, "slices": slices}
    text, markdown = render(ReportInputs("x", metrics=metrics), tmp_path)
    assert "| cold | 0 | – | – | – |" in markdown
    assert "<svg" not in text


@pytest.mark.parametrize(
    ("hit", "ndcg", "title", "phrase"),
    [
        (0.05, 0.03, "Beats co-visitation and popularity", "above co-visitation: paired"),
        (0.05, 0.001, "Beats co-visitation and popularity", "On ndcg@10 it does not beat"),
        (0.001, 0.03, "Does not beat co-visitation", "not distinguishable from 0"),
        (-0.05, -0.03, "Does not beat co-visitation", "difference −0.0500 [−0.0600"),
    ],
)
def test_verdict_follows_the_paired_interval(
    inputs: ReportInputs, hit: float, ndcg: float, title: str, phrase: str
) -> None:
    paired = {"popularity": difference(0.12, 0.1), "covisitation": difference(hit, ndcg)}
    verdict = judge(replace(inputs, metrics={**inputs.metrics, "paired": paired}))
    assert verdict
    assert verdict.title == title
    assert verdict.tone == ("good" if title.startswith("Beats") else "bad")
    assert verdict.text.startswith("hit@10 0.2010 [0.1910, 0.2110], 2.7× popularity; ")
    assert phrase in verdict.text


def test_further_yardsticks_are_named_where_they_are_not_beaten(inputs: ReportInputs) -> None:
    beaten = {"popularity": difference(0.12, 0.1), "covisitation": difference(0.05, 0.03)}
    paired = {**beaten, "item_knn": difference(-0.02, 0), "recent_repeat": difference(0.1, 0.1)}
    verdict = judge(replace(inputs, metrics={**inputs.metrics, "paired": paired}))
    assert verdict
    assert (verdict.tone, verdict.title) == ("good", "Beats co-visitation and popularity")
    assert "; does not beat item-kNN: paired difference −0.0200 [" in verdict.text
    assert "latest first" not in verdict.text


def test_verdict_without_paired_intervals_stays_open(inputs: ReportInputs) -> None:
    verdict = judge(replace(inputs, metrics={**inputs.metrics, "paired": {}}))
    assert verdict
    assert verdict.tone == "open"
    assert "without a paired interval" in verdict.text
    lower = {**inputs.metrics, "paired": {}, "metrics": scores(0.05)}
    verdict = judge(replace(inputs, metrics=lower))
    assert verdict
    assert verdict.title == "Does not beat co-visitation"


def test_verdict_names_invalid_recommendations(inputs: ReportInputs) -> None:
    verdict = judge(replace(inputs, metrics={**inputs.metrics, "invalid_rate": 0.02}))
    assert verdict
    assert "2 % of the recommendations are no items" in verdict.text


def test_verdict_of_another_metric() -> None:
    verdict = judge(ReportInputs("x", metrics={"metrics": {"auc": entry(0.7)}}))
    assert verdict
    assert verdict.title == "Not compared with any baseline"
    assert verdict.text == "auc 0.7000 [0.6900, 0.7100]."


def test_given_hit_curve_replaces_that_of_the_metrics(tmp_path: Path) -> None:
    curve = {"model": {k: k / 100 for k in range(1, 51)}, "sasrec": {1: 0.01, 50: 0.2}}
    inputs = ReportInputs("x", metrics={"metrics": scores(0.08)}, hit_curve=curve)
    text = render(inputs, tmp_path)[0]
    assert "hit@k by k (log scale): this model, SASRec" in text
    assert "bands" not in text  # the curve comes without intervals
    assert "bands are 95% intervals" in render(replace(inputs, hit_curve={}), tmp_path)[0]


def test_metrics_sort_by_kind_then_cutoff() -> None:
    names = dict.fromkeys(["hit@10", "ndcg@10", "hit@5", "auc", "ndcg@5"])
    assert sort_metrics(names) == ["hit@5", "hit@10", "ndcg@5", "ndcg@10", "auc"]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("seconds", 412.3, "6.9 min"),
        ("peak_memory_bytes", 3 * 2**30, "3.0 GiB"),
        ("collision_rate", 0.0812, "8.12 %"),
        ("rows", 61417, "61,417"),
        ("gini", -0.51234, "−0.5123"),
        ("exclude_history", False, "no"),
        ("cutoffs", [1, 5], "1, 5"),
        ("seed", None, "–"),
        ("valid_from", 1580515200, "2020-02-01 00:00"),
        ("valid_from", 1580515200000, "1,580,515,200,000"),
    ],
)
def test_quantities(name: str, value: object, shown: str) -> None:
    assert quantity(name, value) == shown


def test_markdown_shows_titles_as_they_are() -> None:
    assert escape("a|b *c* [d](e)\n# <i>&") == r"a\|b \*c\* \[d\](e) \# &lt;i>&amp;"
    table = Table(["", "x"], [[Cell("a|b"), Cell("1", "[0, 2]", best=True)]])
    assert table_lines(table) == ["|  | x |", "| :-- | --: |", r"| a\|b | **1** [0, 2] |"]


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MEASURE = """<body>{frames}<script>
addEventListener("load", () => {{
  document.title = [...document.querySelectorAll("iframe")].map((frame) => {{
    const page = frame.contentDocument;
    page.querySelectorAll("details").forEach((folded) => {{ folded.open = true; }});
    return frame.width + ":" + page.documentElement.scrollWidth;
  }}).join(" ");
}});
</script></body>"""


def browse(page: Path) -> tuple[str, list[str]]:
    """What a browser makes of a page, and what it says in the console."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--enable-logging=stderr", f"--user-data-dir={page.parent / 'profile'}"]
    command += ["--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_nothing_overflows_in_a_browser_or_is_complained_of(
    rendered: tuple[str, str], tmp_path: Path
) -> None:
    text = html.escape(rendered[0], quote=True)
    frames = "".join(
        f'<iframe width="{width}" height="20000" style="border:0" srcdoc="{text}"></iframe>'
        for width in (400, 1200)
    )
    page = tmp_path / "measure.html"
    page.write_text(MEASURE.format(frames=frames), encoding="utf-8")
    content, console = browse(page)
    assert "<title>400:400 1200:1200</title>" in content
    assert not console


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize(
    "wrong", ["<script>undefined_name</script>", '<img src="https://x.invalid">']
)
def test_a_page_that_runs_or_loads_something_is_told_of_in_the_console(
    rendered: tuple[str, str], tmp_path: Path, wrong: str
) -> None:
    page = tmp_path / "page.html"
    page.write_text(rendered[0].replace("<main>", f"<main>{wrong}"), encoding="utf-8")
    assert any("Content Security Policy" in line for line in browse(page)[1])
