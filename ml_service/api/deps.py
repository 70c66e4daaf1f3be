"""What handlers ask for, taken from `app.state` (filled in the lifespan)."""

from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Request

from cuvee.keys import Caller
from cuvee.service import caller_with
from ml_service.routing import Serving


def _engine(request: Request) -> sa.Engine:
    engine: sa.Engine = request.app.state.engine
    return engine


def _serving(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving


CallerDep = Annotated[Caller, caller_with("ml")]
EngineDep = Annotated[sa.Engine, Depends(_engine)]
ServingDep = Annotated[Serving, Depends(_serving)]
