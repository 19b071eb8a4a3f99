"""Reinforcement learning: what a step spends on its items, against TRL's GRPOTrainer with beams.

`bar` and the other rollouts draw G = 16 items a prompt of 150 tokens with a model of the shape of
Qwen2.5-0.5B, on CPU in fp32; the peer is `generate(num_beams=16, num_return_sequences=16)` under
the same constraint, which returns the same items as `beam` (it has no setting for the others: its
figure is the same). `scoring + backward` has the width and vocabulary of that model with six
layers, and the same rollouts; the peer copies the prompt for each item and runs the head by its
fused function, on the items' tokens alone as on a GPU, and as it comes: without Triton, TRL scores
every position. Where there is a GPU, the real shapes run on it in bf16, with the share of a step
that rollouts take.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from benchmarks._backbone import QWEN_05B, QWEN_15B, TINY, Shape, make_model
from benchmarks._harness import Row, median_seconds, parse_small, report
from benchmarks._rl_scoring import Copies, Groups, SharedPrefix, check, measure
from benchmarks.decoding import Contest, Work
from recllm.config.plugins import ROLLOUTS
from recllm.decoding.noise import row_seeds

WORK = Work(beams=16, users=8, peer_batches=(1, 2, 4, 8))
SMALL = Work(items=500, prompt=20, beams=8, users=4, peer_batches=(4,))
SIX_LAYERS = replace(QWEN_05B, layers=6)
#: Of the losses in fp32; of the norms of gradients, relative.
TOLERANCE = 1e-4
HALF_TOLERANCE = 0.05


class Rollouts:
    """Draws the groups of the prompts of a contest."""

    def __init__(self, contest: Contest) -> None:
        self.contest, self.engine = contest, contest.engine()

    def draw(self, name: str) -> torch.Tensor:
        """(prompts, generations) items of one of the rollouts."""
        prompts, work = self.contest.prompts.tolist(), self.contest.work
        numbers = torch.arange(len(prompts))
        drawn = ROLLOUTS.load(name)().draw(
            self.engine,
            prompts,
            numbers,
            generations=work.beams,
            seeds=row_seeds(0, numbers, step=0),
        )
        return drawn.items

    def seconds(self, name: str) -> float:
        """Of the rollouts of all prompts."""
        return median_seconds(partial(self.draw, name))

    def groups(self, dtype: torch.dtype = torch.float32) -> Groups:
        """The best items of each prompt, with advantages of mean 0."""
        items = self.draw("beam")
        advantages = torch.randn(items.shape, generator=torch.manual_seed(0)).to(
            items.device, dtype
        )
        advantages -= advantages.mean(dim=1, keepdim=True)
        prompts = torch.from_numpy(self.contest.prompts).to(items.device)
        return Groups(prompts, items, advantages)


def rollouts(shape: Shape, work: Work) -> Iterator[Row]:
    """Every rollout against the peer's beams."""
    contest = Contest(make_model(shape, work.levels * work.codes), shape, work)
    peer = contest.peer()
    contest.check(peer)
    ours = Rollouts(contest)
    for name in ("beam", "sbs", "sample"):  # beam-risk draws what beam does
        rate = work.users / ours.seconds(name)
        yield Row("bar" if name == "beam" else f"rollouts: {name}", rate, peer.rate, "prompts/s")


def scoring(shape: Shape, work: Work, batches: tuple[int, ...]) -> Iterator[Row]:
    """Log-probabilities and their gradients, of the best items of each prompt."""
    model = make_model(shape, work.levels * work.codes)
    contest = Contest(model, shape, work)
    groups = Rollouts(contest).groups()
    ours = measure(model, SharedPrefix(model, contest.trie), groups, batches)
    print(f"shared prefix: {ours}", flush=True)
    for answers_only, said, repeats in (
        (True, "", 2),
        (False, ", peer's head on every token", 0),
    ):
        copies = Copies(model, contest.trie, answers_only=answers_only)
        theirs = measure(model, copies, groups, batches if answers_only else batches[:1], repeats)
        print(f"copied prompts{said}: {theirs}", flush=True)
        check(ours, theirs, TOLERANCE)
        rate, peer_rate = work.users / ours.seconds, work.users / theirs.seconds
        yield Row(f"scoring + backward{said}", rate, peer_rate, "prompts/s")


def step(
    name: str, shape: Shape, work: Work, batches: tuple[int, ...], device: str
) -> Iterator[Row]:
    """Rollouts, scoring and backward in bf16; prints the share of each."""
    dtype = torch.bfloat16
    model = make_model(shape, work.levels * work.codes, device, dtype)
    contest = Contest(model, shape, work)
    ours, peer = Rollouts(contest), contest.peer()
    groups = ours.groups(dtype)
    shared = measure(model, SharedPrefix(model, contest.trie), groups, batches)
    copied = measure(model, Copies(model, contest.trie, answers_only=True), groups, batches)
    check(shared, copied, HALF_TOLERANCE)
    drawn = {"recllm": ours.seconds("beam"), "peer": work.users / peer.rate}
    scored = {"recllm": shared.seconds, "peer": copied.seconds}
    for who, seconds in drawn.items():
        share = seconds / (seconds + scored[who])
        print(
            f"{name}, {who}: rollouts {seconds:.4g} s, scoring and backward {scored[who]:.4g} s; "
            f"rollouts are {share:.0%}",
            flush=True,
        )
    for part, taken in (("rollouts", drawn), ("scoring + backward", scored)):
        rate, peer_rate = work.users / taken["recllm"], work.users / taken["peer"]
        yield Row(f"{name}, bf16, {device}: {part}", rate, peer_rate, "prompts/s")


def run_all(small: bool) -> Iterator[Row]:
    """Every case that this machine can run."""
    if small:
        yield from rollouts(TINY, SMALL)
        yield from scoring(TINY, SMALL, (2, 4))
        yield from step("tiny", TINY, SMALL, (4,), "cpu")
        return
    yield from rollouts(QWEN_05B, WORK)
    yield from scoring(SIX_LAYERS, replace(WORK, users=4), (1, 4))
    if torch.cuda.is_available():
        work = replace(WORK, users=128, peer_batches=(8, 32, 128))
        yield from step("Qwen2.5-0.5B shape", QWEN_05B, work, (4, 16, 32), "cuda")
        yield from step("Qwen2.5-1.5B shape", QWEN_15B, work, (4, 16, 32), "cuda")


def main() -> None:
    """Print the figures of every case."""
    rows = []
    for row in run_all(parse_small(__doc__)):
        figures = f"{row.recllm:.4g} against {row.peer:.4g} {row.unit}"
        print(f"{row.case}: {figures}, {row.ratio:.3g} times", flush=True)
        rows.append(row)
    report("rl", rows)


if __name__ == "__main__":
    main()
