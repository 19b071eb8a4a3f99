"""Ranking metrics and their intervals: formulas on ranks and scores, numpy only."""

from recllm.metrics.bootstrap import bootstrap_interval, bootstrap_intervals, paired_interval
from recllm.metrics.classification import auc
from recllm.metrics.consistency import contradictions
from recllm.metrics.ranking import RankMetric, compute, parse, rank_metrics, ranks_of
from recllm.metrics.ranking.hit import hit
from recllm.metrics.ranking.mrr import mrr
from recllm.metrics.ranking.ndcg import ndcg
from recllm.metrics.significance import holm, randomization_p_values

__all__ = [
    "RankMetric",
    "auc",
    "bootstrap_interval",
    "bootstrap_intervals",
    "compute",
    "contradictions",
    "hit",
    "holm",
    "mrr",
    "ndcg",
    "paired_interval",
    "parse",
    "randomization_p_values",
    "rank_metrics",
    "ranks_of",
]
