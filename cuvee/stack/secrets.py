"""Secrets of one stack: generated once into `<home>/.env`, readable by its owner alone."""

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from dotenv import dotenv_values

from cuvee import keys
from cuvee.settings import Settings

_GENERATORS: dict[str, Callable[[], str]] = {
    "CUVEE_API_KEY": keys.generate,
    "AIRFLOW_PASSWORD": lambda: secrets.token_urlsafe(12),
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_urlsafe(48),
    "AIRFLOW_API_SECRET_KEY": lambda: secrets.token_urlsafe(48),
    # Fernet keys are 32 random bytes in URL-safe base64.
    "AIRFLOW_FERNET_KEY": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
}
_HEADER = (
    "# Secrets and settings of this stack. Secrets were generated at first start; see .env.example for settings.\n"
)


def ensure(settings: Settings) -> dict[str, str]:
    """All secrets of the stack, from the environment, then from `.env`.

    Those that both lack are generated and added to `.env`; the rest of the file is kept.
    """
    path = settings.env_file
    present = {name: value for name, value in dotenv_values(path).items() if value} if path.exists() else {}
    present |= {name: os.environ[name] for name in _GENERATORS if os.environ.get(name)}
    missing = {name: make() for name, make in _GENERATORS.items() if name not in present}
    if missing:
        before = path.read_text() if path.exists() else _HEADER
        if not before.endswith("\n"):
            before += "\n"
        _write_private(path, before + "".join(f"{name}={value}\n" for name, value in missing.items()))
    if path.exists():
        path.chmod(0o600)
    return {name: present.get(name) or missing[name] for name in _GENERATORS}


def _write_private(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as target:
        target.write(content)
        target.flush()
        os.fsync(target.fileno())
    aside.replace(path)
