"""What the DAGs do, one function per task; each can be killed at any line and run again.

`features`, `training` and `promotion`: from the wine table to a champion. `serving`: proof that it is what is served.
`monitoring`: whether it is still good, and what was observed since. `housekeeping`: what runs left. Heavy imports stay
inside the functions: a task imports only what it needs.
"""

from ml_service.pipeline.features import prepare_features
from ml_service.pipeline.housekeeping import reclaim_runs
from ml_service.pipeline.monitoring import collect_observations, measure_drift
from ml_service.pipeline.promotion import decide_promotion, settle_promotion
from ml_service.pipeline.serving import verify_served
from ml_service.pipeline.training import train_candidate

__all__ = [
    "collect_observations",
    "decide_promotion",
    "measure_drift",
    "prepare_features",
    "reclaim_runs",
    "settle_promotion",
    "train_candidate",
    "verify_served",
]
