"""Finding a Java runtime that Spark can use, or fetching one."""

import os
import re
import subprocess
from pathlib import Path

import jdk

from cuvee.errors import PreconditionError
from cuvee.settings import Settings

_LEAST_MAJOR = 17


def find(settings: Settings) -> Path | None:
    """JAVA_HOME to run Spark with; None: `java` on the PATH, if there is one.

    What `cuvee fetch-java` fetched comes first: whoever ran it did so because this machine's own Java would not do.
    """
    fetched = sorted((settings.data_dir / "java").glob("*/bin/java"))
    if fetched:
        return fetched[-1].parent.parent
    return Path(os.environ["JAVA_HOME"]) if os.environ.get("JAVA_HOME") else None


def check(settings: Settings) -> int:
    """The major version of the Java that would be used.

    Raises:
        PreconditionError: none is found, it is too old, or it lacks a module that Spark asks for.
    """
    home = find(settings)
    executable = str(home / "bin" / "java") if home else "java"
    advice = "Install Java 17 or newer (Debian: openjdk-17-jre-headless), or let `cuvee fetch-java` fetch a JRE."
    try:
        # Spark's launcher adds this module; JREs that were cut down lack it.
        done = subprocess.run(  # noqa: S603
            [executable, "--add-modules=jdk.incubator.vector", "-version"], capture_output=True, text=True, timeout=60
        )
    except FileNotFoundError as error:
        raise PreconditionError(f"Spark needs Java, and {executable} is not there. {advice}") from error
    match = re.search(r'version "(\d+)', done.stderr)
    if done.returncode != 0 or not match:
        raise PreconditionError(f"{executable} cannot run Spark: {done.stderr.strip()[:300]}. {advice}")
    if int(match[1]) < _LEAST_MAJOR:
        raise PreconditionError(f"{executable} is Java {match[1]}; Spark 4 needs {_LEAST_MAJOR} or newer. {advice}")
    return int(match[1])


def fetch(settings: Settings) -> Path:
    """Download a JRE into `data/java` with install-jdk; needs the internet.

    Raises:
        PreconditionError: it cannot be downloaded.
    """
    try:
        return Path(jdk.install("17", jre=True, path=str(settings.data_dir / "java")))
    except (OSError, jdk.JdkError) as error:
        raise PreconditionError(
            f"Java could not be downloaded ({error}). Install Java 17 or newer yourself."
        ) from error
