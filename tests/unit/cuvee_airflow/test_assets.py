"""Who waits for a new base hears of it only from a run that built one."""

import pytest
from airflow.sdk import Asset, AssetAlias

from cuvee_airflow.assets import INDEX_BASE, NEW_BASE, tell_of_new_base


class Events:
    """Records what a task adds, as Airflow's accessor of an alias does."""

    def __init__(self) -> None:
        self.added: list[Asset] = []

    def __getitem__(self, outlet: AssetAlias) -> "Events":
        assert outlet == NEW_BASE
        return self

    def add(self, asset: Asset) -> None:
        self.added.append(asset)


@pytest.mark.parametrize(("new_base", "told"), [(True, [INDEX_BASE]), (False, [])])
def test_a_run_tells_of_a_new_base_only_where_it_built_one(new_base: bool, told: list[Asset]) -> None:
    events = Events()

    tell_of_new_base({"generation": 3, "published": True, "new_base": new_base}, events)

    assert events.added == told
