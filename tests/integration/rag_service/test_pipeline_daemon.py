"""Spark's Python daemon of ours speaks the protocol of Spark's own, and has the slow imports done."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.integration


def test_the_daemon_tells_its_port_first_and_has_openvino_loaded_and_ends_with_spark() -> None:
    command = [sys.executable, "-m", "spark_jobs.daemon", "pyspark.worker"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as daemon:
        assert daemon.stdout and daemon.stdin
        (port,) = struct.unpack("!i", daemon.stdout.read(4))
        listening = {c.laddr.port for c in psutil.Process(daemon.pid).net_connections("inet") if c.status == "LISTEN"}
        maps = Path(f"/proc/{daemon.pid}/maps").read_text()
        daemon.stdin.close()
        daemon.wait(timeout=30)

    assert listening == {port}
    assert "libopenvino" in maps
    assert "libtorch" not in maps
