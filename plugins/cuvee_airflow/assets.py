"""Assets that several DAGs share, and the event that tells of a new base of the index."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset, AssetAlias

INDEX_GENERATION = Asset("index_generation")
"""Every published generation."""
INDEX_BASE = Asset("index_base")
"""Generations whose base is new: the first one, and those that a delta was folded into."""
WINE_CHAMPION = Asset("wine_champion")
"""Every decision about a candidate, carried out."""
WINE_DRIFT = Asset("wine_drift")
"""`monitor_wine` asks for a retraining."""
NEW_BASE = AssetAlias("index_base_of_a_run")
"""An outlet that gives an event of INDEX_BASE only where a task says so; a plain outlet would at every run."""


def tell_of_new_base(receipt: Mapping[str, Any], outlet_events: Any) -> None:
    """For a task with the outlet NEW_BASE: let who waits for a new base know, if the receipt says that there is one."""
    if receipt["new_base"]:
        outlet_events[NEW_BASE].add(INDEX_BASE)
