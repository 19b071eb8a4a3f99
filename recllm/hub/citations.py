"""The papers whose methods a model was trained by, as BibTeX."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recllm.config.model_section import WITH_LORA
from recllm.config.schema import Recipe

#: Tasks that tie SIDs to language, beside that of asking for the next item.
_ALIGNING = (
    "title-to-sid",
    "sid-to-title",
    "description-to-sid",
    "sid-to-description",
    "sid-history-to-title",
    "sid-history-to-description",
    "title-history-to-sid",
    "item-search",
    "preference",
)


@dataclass(frozen=True)
class Work:
    """A paper, by the name that people know it by.

    Attributes:
        kind: BibTeX's, with what that kind needs in `venue`.
    """

    name: str
    kind: str
    key: str
    title: str
    authors: tuple[str, ...]
    venue: tuple[tuple[str, str], ...]
    year: int
    arxiv: str

    def bibtex(self) -> str:
        """The entry."""
        fields = [
            ("title", f"{{{self.title}}}"),
            ("author", " and ".join(self.authors)),
            *self.venue,
            ("year", str(self.year)),
            ("eprint", self.arxiv),
            ("archivePrefix", "arXiv"),
        ]
        return _entry(self.kind, self.key, fields)


TIGER = Work(
    "TIGER", "inproceedings", "rajput2023tiger",
    "Recommender Systems with Generative Retrieval",
    (
        "Rajput, Shashank", "Mehta, Nikhil", "Singh, Anima", "Keshavan, Raghunandan H.",
        "Vu, Trung", "Heldt, Lukasz", "Hong, Lichan", "Tay, Yi", "Tran, Vinh Q.", "Samost, Jonah",
        "Kula, Maciej", "Chi, Ed H.", "Sathiamoorthy, Maheswaran",
    ),
    (("booktitle", "Advances in Neural Information Processing Systems"),), 2023, "2305.05065",
)  # fmt: skip
RQ_VAE = Work(
    "RQ-VAE", "inproceedings", "lee2022rqvae",
    "Autoregressive Image Generation using Residual Quantization",
    ("Lee, Doyup", "Kim, Chiheon", "Kim, Saehoon", "Cho, Minsu", "Han, Wook-Shin"),
    (("booktitle", "IEEE/CVF Conference on Computer Vision and Pattern Recognition"),), 2022,
    "2203.01941",
)  # fmt: skip
LC_REC = Work(
    "LC-Rec", "inproceedings", "zheng2024lcrec",
    "Adapting Large Language Models by Integrating Collaborative Semantics for Recommendation",
    (
        "Zheng, Bowen", "Hou, Yupeng", "Lu, Hongyu", "Chen, Yu", "Zhao, Wayne Xin", "Chen, Ming",
        "Wen, Ji-Rong",
    ),
    (("booktitle", "IEEE 40th International Conference on Data Engineering"),), 2024, "2311.09049",
)  # fmt: skip
MINIONEREC = Work(
    "MiniOneRec", "misc", "kong2025minionerec",
    "MiniOneRec: An Open-Source Framework for Scaling Generative Recommendation",
    (
        "Kong, Xiaoyu", "Sheng, Leheng", "Tan, Junfei", "Chen, Yuxin", "Wu, Jiancan", "Zhang, An",
        "Wang, Xiang", "He, Xiangnan",
    ),
    (), 2025, "2510.24431",
)  # fmt: skip
TALLREC = Work(
    "TALLRec", "inproceedings", "bao2023tallrec",
    "TALLRec: An Effective and Efficient Tuning Framework to Align Large Language Model with "
    "Recommendation",
    (
        "Bao, Keqin", "Zhang, Jizhi", "Zhang, Yang", "Wang, Wenjie", "Feng, Fuli", "He, Xiangnan",
    ),
    (("booktitle", "17th ACM Conference on Recommender Systems"),), 2023, "2305.00447",
)  # fmt: skip
BIGREC = Work(
    "BIGRec", "article", "bao2025bigrec",
    "A Bi-Step Grounding Paradigm for Large Language Models in Recommendation Systems",
    (
        "Bao, Keqin", "Zhang, Jizhi", "Wang, Wenjie", "Zhang, Yang", "Yang, Zhengyi",
        "Luo, Yancheng", "Chen, Chong", "Feng, Fuli", "Tian, Qi",
    ),
    (("journal", "ACM Transactions on Recommender Systems"),), 2025, "2308.08434",
)  # fmt: skip
LORA = Work(
    "LoRA", "inproceedings", "hu2022lora", "LoRA: Low-Rank Adaptation of Large Language Models",
    (
        "Hu, Edward J.", "Shen, Yelong", "Wallis, Phillip", "Allen-Zhu, Zeyuan", "Li, Yuanzhi",
        "Wang, Shean", "Wang, Lu", "Chen, Weizhu",
    ),
    (("booktitle", "International Conference on Learning Representations"),), 2022, "2106.09685",
)  # fmt: skip
QLORA = Work(
    "QLoRA", "inproceedings", "dettmers2023qlora",
    "QLoRA: Efficient Finetuning of Quantized LLMs",
    ("Dettmers, Tim", "Pagnoni, Artidoro", "Holtzman, Ari", "Zettlemoyer, Luke"),
    (("booktitle", "Advances in Neural Information Processing Systems"),), 2023, "2305.14314",
)  # fmt: skip
GRPO = Work(
    "GRPO", "misc", "shao2024deepseekmath",
    "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models",
    ("Shao, Zhihong", "others"),
    (), 2024, "2402.03300",
)  # fmt: skip


def works_of(recipe: Recipe | None, asked_by: str, has_sids: bool) -> list[Work]:
    """The papers whose methods a model uses, by what its recipe says.

    Args:
        recipe: None where it is not known: then by the two facts of the checkpoint alone.
        asked_by: the name of the task that the model is asked by.
        has_sids: whether its items go by SIDs.
    """
    tasks, name = {asked_by}, ""
    if recipe is not None:
        tasks |= {share.task.name for share in recipe.sft.mix}
        name = recipe.output_dir.name
    used = [
        (TALLREC, "tallrec" in tasks),
        (BIGREC, "bigrec" in tasks),
        (MINIONEREC, "minionerec" in name or _rewards_ranks(recipe)),
        (LC_REC, "lcrec" in name or not tasks.isdisjoint(_ALIGNING)),
        (TIGER, has_sids),
        *_parts(recipe),
    ]
    return [work for work, is_used in used if is_used]


def _rewards_ranks(recipe: Recipe | None) -> bool:
    """Whether there is reinforcement learning by MiniOneRec's reward."""
    if recipe is None or recipe.rl is None:
        return False
    return any(share.weight and share.reward.name == "rank" for share in recipe.rl.reward_mix)


def _parts(recipe: Recipe | None) -> Iterator[tuple[Work, bool]]:
    """What is not a recommender's method by itself."""
    if recipe is None:
        return
    yield RQ_VAE, recipe.sid.quantizer.name == "rq-vae"
    yield GRPO, recipe.rl is not None
    with_lora = recipe.rl is not None and recipe.rl.tuning == "lora"
    yield LORA, recipe.model.tuning in WITH_LORA or with_lora
    yield QLORA, recipe.model.tuning == "qlora"


def software(version: str) -> str:
    """BibTeX of recllm itself.

    Args:
        version: that the model was trained by.
    """
    fields = [
        ("title", "{recllm}: an open {LLM} as a recommender"),
        ("author", "{The recllm authors}"),
        ("version", version),
        ("license", "Apache-2.0"),
    ]
    return _entry("software", "recllm", fields)


def _entry(kind: str, key: str, fields: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in fields)
    lines = [f"  {name:<{width}} = {{{value}}}," for name, value in fields]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])
