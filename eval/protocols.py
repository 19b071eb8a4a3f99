"""How a recipe's models are evaluated: by ranking the catalogue, or by verdicts on single items.

The task that the models are asked by decides (`Recipe.asked_by`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from recllm.config.schema import Recipe
from recllm.errors import UserError
from recllm.eval.general_text import read_text


class Protocol(ABC):
    """What the stages eval and report do for a recipe."""

    #: The stages that an evaluation reads.
    parents: ClassVar[tuple[str, ...]]

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def check(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            UserError: they cannot.
        """
        if self.recipe.eval.perplexity is not None:
            read_text(self.recipe.eval.perplexity)

    def evaluate(self, checkpoint: Path, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
        """The content of metrics.json on the test split; writes `predictions.parquet` into `out`.

        Where the recipe names a text, `perplexity` is as `measure_perplexity` returns it.

        Args:
            inputs: the artifacts of `parents`; that of prompts may be missing.
        """
        measured = self._perplexity(checkpoint)  # first: it is soon done, and may refuse
        found = dict(self._scores(checkpoint, inputs, out))
        # The text is stated with its figures, by its content.
        found["settings"] = {k: v for k, v in found["settings"].items() if k != "perplexity"}
        return found | measured

    def _perplexity(self, checkpoint: Path) -> dict[str, Any]:
        text = self.recipe.eval.perplexity
        if text is None:
            return {}
        from recllm.eval.perplexity import measure_perplexity

        return {"perplexity": measure_perplexity(self.recipe, text, checkpoint)}

    @abstractmethod
    def _scores(self, checkpoint: Path, inputs: Mapping[str, Path], out: Path) -> Mapping[str, Any]:
        """As `evaluate`, of the rows of the split alone."""

    def report_parts(self, inputs: Mapping[str, Path]) -> dict[str, Any]:
        """What the report shows of single predictions: fields of `ReportInputs`."""
        del inputs
        return {}


class RankingProtocol(Protocol):
    """The whole catalogue is ranked for each row, beside the baselines."""

    parents = ("filter", "split", "sid", "prompts", "baselines")

    def check(self) -> None:
        """Refuse an engine that needs titles where items go by SIDs; see the base class."""
        super().check()
        engine, scheme = self.recipe.eval.engine, self.recipe.sid.quantizer.name
        if engine.needs_titles and scheme != "title":
            raise UserError(
                f"eval.engine: {engine.name} writes titles and finds the items nearest to them, "
                f"but under sid.quantizer: {scheme} items go by SIDs; set sid.quantizer: title, "
                "or another engine"
            )

    def _scores(self, checkpoint: Path, inputs: Mapping[str, Path], out: Path) -> Mapping[str, Any]:
        """See `recllm.eval.evaluation.evaluate`."""
        from recllm.eval.evaluation import evaluate
        from recllm.eval.together import invite

        invite(self.recipe, checkpoint, inputs)
        return evaluate(self.recipe, checkpoint, inputs, out)

    def report_parts(self, inputs: Mapping[str, Path]) -> dict[str, Any]:
        """hit@k over k, popularity, and a few users with what they were recommended."""
        from recllm.eval.estimates import headline_depth
        from recllm.eval.report_parts import find_examples, hit_curve, popularity_profiles

        return {
            "examples": find_examples(inputs, self.recipe.seed),
            "hit_curve": hit_curve(inputs, self.recipe.eval.beams),
            "popularity": popularity_profiles(inputs, headline_depth(self.recipe.eval)),
        }


class VerdictProtocol(Protocol):
    """The target of each row is judged, beside popularity, mean ratings and chance."""

    parents = ("filter", "split", "prompts")

    def check(self) -> None:
        """Refuse candidates to rank, since a verdict is on one item; see the base class."""
        super().check()
        if self.recipe.eval.candidates is not None:
            raise UserError(
                f"eval.candidates: the model is asked for verdicts by {self.recipe.asked_by.name}, "
                "which rank no candidates; leave the section out"
            )

    def _scores(self, checkpoint: Path, inputs: Mapping[str, Path], out: Path) -> Mapping[str, Any]:
        """See `recllm.eval.verdicts.evaluate_verdicts`."""
        from recllm.eval.verdicts import evaluate_verdicts

        return evaluate_verdicts(self.recipe, checkpoint, inputs, out)


def protocol_of(recipe: Recipe) -> Protocol:
    """The protocol of a recipe.

    Raises:
        UserError: its mix trains no task that can be asked.
    """
    return (VerdictProtocol if recipe.asked_by.verdicts else RankingProtocol)(recipe)
