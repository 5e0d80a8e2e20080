"""Verdicts on claims that are identities: they hold to floating-point error, or they do not. Seeds play no part."""

import pandas as pd
from torch import Tensor

from gbnlib import paper
from gbnlib.analysis.judges import NOT, NOT_TESTED, REPRODUCED
from gbnlib.analysis.verdicts import Verdict


def relative_difference(found: Tensor, wanted: Tensor) -> float:
    """‖found − wanted‖ / ‖wanted‖."""
    return ((found - wanted).norm() / wanted.norm()).item()


def judge_identity(
    claim: str, differences: pd.Series, *, item: str, scale: str, network: str, dataset: str, also: str = ""
) -> Verdict:
    """The verdict on an identity: every relative difference lies below the claim's margin.

    Parameters
    ----------
    claim : "C12" or "C13".
    differences : relative differences in double precision, one a case; NaN counts as a failure.
    item, scale : what the differences are of.
    network, dataset : in words.
    also : what else the evidence says.
    """
    fact = paper.claims()[claim]
    decision, evidence = NOT_TESTED, "nothing was measured"
    if len(differences):
        holds = bool((differences < fact.margin).all())
        decision = REPRODUCED if holds else NOT
        evidence = f"largest relative difference {differences.max(skipna=False):.1e} in {len(differences)} cases{also}"
    return Verdict(
        claim=claim,
        statement=fact.statement,
        verdict=decision,
        scale=scale,
        item=item,
        network="exact",
        network_label=network,
        dataset="exact",
        dataset_label=dataset,
        criterion=fact.criterion,
        evidence=evidence,
        n=len(differences),
        published=fact.published,
        tag=fact.tag,
    )
