"""Which version answers: the champion, one that is named, or a challenger in shadow or as a canary.

What MLflow's registry says is the record: the aliases `champion` and `challenger`, and the challenger's tags
`cuvee.challenger_mode` (`shadow`, the default, or `canary`) and `cuvee.challenger_weight` (share of the requests that a
canary answers, 0.05 by default). A version that cannot be loaded never replaces one that works.
"""

import gc
import logging
import random
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from mlflow.exceptions import MlflowException

from cuvee.errors import ConfigurationError, CuveeError, NotFoundError, NotReadyError
from cuvee.registry import CHALLENGER, CHAMPION, RegisteredVersion, Registry
from ml_service import inference
from ml_service.inference import ServedModel
from ml_service.wine import MODEL_NAME

log = logging.getLogger(__name__)

Role = Literal["champion", "named", "canary"]

MODE_TAG = "cuvee.challenger_mode"
WEIGHT_TAG = "cuvee.challenger_weight"
_DEFAULT_WEIGHT = 0.05
_RETRY_SECONDS = 30.0
_NAMED_KEPT = 4
_NAMED_TRUSTED_SECONDS = 60.0
"""How long a loaded version is taken to be the registry's without asking."""


@dataclass(frozen=True)
class ReloadFailure:
    """Why what is served is not what the registry names, and since when."""

    since: datetime
    message: str
    identity: str | None


@dataclass(frozen=True, eq=False)
class Route:
    """Who answers a request, and who is asked besides without being heard."""

    model: ServedModel
    role: Role
    shadow: ServedModel | None = None


@dataclass(frozen=True, eq=False)
class Challenger:
    """A version on trial; `weight` is the share of requests that it answers, 0 in shadow."""

    model: ServedModel
    weight: float


class Slot:
    """What one alias serves: swapped when the alias moves, kept when the newcomer cannot be loaded."""

    def __init__(self, registry: Registry, alias: str) -> None:
        self._registry = registry
        self._alias = alias
        self.model: ServedModel | None = None
        self.failure: ReloadFailure | None = None
        self._tried_at = 0.0

    def refresh(self) -> RegisteredVersion | None:
        """The version that carries the alias, loaded if it can be; None: no version does, or MLflow does not answer."""
        wanted: RegisteredVersion | None = None
        try:
            wanted = self._registry.aliased(MODEL_NAME, self._alias)
            if wanted is None or (self.model is not None and self.model.identity == wanted.identity):
                self.failure = None
                return wanted
            if not self._failed_lately(wanted.identity):
                self.model, self.failure = inference.load(self._registry, wanted), None
                _keep()
                log.info("%s: version %d", self._alias, wanted.version)
        except (CuveeError, MlflowException, OSError) as error:
            self.failed(wanted, str(error))
        return wanted

    def _failed_lately(self, identity: str) -> bool:
        failed = self.failure is not None and self.failure.identity == identity
        return failed and time.monotonic() - self._tried_at < _RETRY_SECONDS

    def failed(self, wanted: RegisteredVersion | None, message: str) -> None:
        self._tried_at = time.monotonic()
        before = self.failure
        told = f"version {wanted.version}: {message}" if wanted else message
        if before is None or before.message != told:
            log.error("the %s cannot be loaded, what was served before goes on: %s", self._alias, told)
        since = before.since if before else datetime.now(UTC)
        self.failure = ReloadFailure(since, told, wanted.identity if wanted else None)


class Serving:
    """The models in use. `refresh` runs in one thread; all else may be called from any."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._champion = Slot(registry, CHAMPION)
        self._challenging = Slot(registry, CHALLENGER)
        self._challenger: Challenger | None = None
        self._named: OrderedDict[int, tuple[float, ServedModel]] = OrderedDict()
        self._loading = threading.Lock()

    @property
    def model(self) -> ServedModel:
        """The champion.

        Raises:
            NotReadyError: nothing could be loaded yet; the message says why.
        """
        if self._champion.model is not None:
            return self._champion.model
        if self._champion.failure is not None:
            raise NotReadyError(f"No model could be loaded yet: {self._champion.failure.message}")
        raise NotReadyError("No champion yet: run the DAG train_wine; what it promotes is served at once.")

    @property
    def failure(self) -> ReloadFailure | None:
        return self._champion.failure

    @property
    def challenger(self) -> Challenger | None:
        return self._challenger

    @property
    def challenger_failure(self) -> ReloadFailure | None:
        return self._challenging.failure

    def refresh(self) -> None:
        """Swap to what the registry's aliases say now."""
        self._champion.refresh()
        wanted = self._challenging.refresh()
        self._challenger = self._challenger_of(wanted)

    def _challenger_of(self, wanted: RegisteredVersion | None) -> Challenger | None:
        model, failure = self._challenging.model, self._challenging.failure
        if wanted is None:
            # MLflow being down ends no trial; the alias being gone does.
            return self._challenger if failure is not None else None
        if model is None or model.identity != wanted.identity:
            return None
        if self._champion.model is None or self._champion.model.identity == model.identity:
            return None
        try:
            return Challenger(model, _weight(wanted.tags))
        except ConfigurationError as error:
            self._challenging.failed(wanted, str(error))
            return None

    def route(self) -> Route:
        """For a request that names no version. Raises NotReadyError as `model` does."""
        champion, challenger = self.model, self._challenger
        if challenger is None:
            return Route(champion, "champion")
        if challenger.weight == 0:
            return Route(champion, "champion", challenger.model)
        # A share of requests, not a secret.
        if random.random() < challenger.weight:  # noqa: S311
            return Route(challenger.model, "canary")
        return Route(champion, "champion")

    def named(self, version: int) -> Route | None:
        """For a request that names a version which is in memory; None: `load_named` has to be called, in a thread."""
        found = self._named.get(version)
        if found is None or time.monotonic() - found[0] >= _NAMED_TRUSTED_SECONDS:
            return None
        return Route(found[1], "named")

    def load_named(self, version: int) -> Route:
        """Load a version, or see that the one in memory is still the registry's; the few used last are kept.

        Raises:
            NotFoundError: the registry has no such version.
            NotReadyError: it is not in memory and MLflow does not answer.
            IntegrityError: it may not be served.
        """
        with self._loading:
            kept = self._named.get(version)
            try:
                wanted = self.registry.version(MODEL_NAME, version)
            except NotReadyError:
                if kept is None:
                    raise
                return Route(kept[1], "named")
            except NotFoundError:
                self._named.pop(version, None)
                raise
            known = [kept[1]] if kept else []
            known += [slot.model for slot in (self._champion, self._challenging) if slot.model is not None]
            same = [model for model in known if model.identity == wanted.identity]
            model = same[0] if same else inference.load(self.registry, wanted)
            self._named[version] = (time.monotonic(), model)
            self._named.move_to_end(version)
            while len(self._named) > _NAMED_KEPT:
                self._named.popitem(last=False)
        return Route(model, "named")


def _keep() -> None:
    """What is loaded by now stays: looking through it for garbage would stop all requests for a tenth of a second."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _weight(tags: dict[str, str]) -> float:
    mode, weight = tags.get(MODE_TAG, "shadow"), tags.get(WEIGHT_TAG, str(_DEFAULT_WEIGHT))
    if mode == "shadow":
        return 0.0
    try:
        if mode == "canary" and 0 < float(weight) <= 1:
            return float(weight)
    except ValueError:
        pass
    raise ConfigurationError(
        f"Its tags {MODE_TAG} = {mode!r}, {WEIGHT_TAG} = {weight!r} say nothing: use shadow, or canary with a weight "
        "over 0 and up to 1. Until then it is not asked."
    )
