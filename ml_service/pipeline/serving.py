"""The task that proves that the champion is what is served."""

import logging

from cuvee.settings import Settings
from ml_service.pipeline.run import Receipt
from ml_service.wine import MODEL_NAME

log = logging.getLogger(__name__)


def verify_served(settings: Settings | None = None) -> Receipt:
    """Wait until `ml_service` answers with the champion.

    Raises:
        NotReadyError: it serves something else when time runs out.
    """
    from cuvee.registry import Registry
    from cuvee.serving import wait_until_serves

    settings = settings or Settings.load()
    champion = Registry(settings.resolved_mlflow_uri).champion(MODEL_NAME)
    if champion is None:
        log.info("no champion yet; nothing to verify")
        return {"version": None}
    waited = wait_until_serves(settings.resolved_ml_url, "version", champion.version)
    return {"version": champion.version, "seconds": waited, "service_url": f"{settings.public_ml_url}/docs"}
