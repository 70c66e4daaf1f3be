"""Every setting of the system, typed, in one place. Read from the environment (`CUVEE_*`) and `<home>/.env`.

Secrets have no defaults: `cuvee up` generates them into `.env` (see `cuvee.stack.secrets`).
"""

import hashlib
import os
import re
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from cuvee.errors import ConfigurationError

PROJECT_DIR = Path(__file__).resolve().parent.parent
# A unix socket's path may have 107 bytes; supervisor adds `-supervisor.sock`, and at first `.` and its process id.
_LONGEST_SOCKET_DIR = 83

Port = Annotated[int, Field(ge=1024, le=65535)]


class Settings(BaseSettings):
    """Immutable settings; build with `Settings.load()`."""

    model_config = SettingsConfigDict(env_prefix="CUVEE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    home: Path = PROJECT_DIR
    """Folder that holds `.env`, `data/` and `mlruns/` of one stack."""

    airflow_port: Port = 8080
    mlflow_port: Port = 5000
    rag_port: Port = 8001
    ml_port: Port = 8002
    spark_connect_port: Port = 15002

    database_url: str = ""
    """SQLAlchemy URL of our own database; empty: the embedded PostgreSQL."""
    mlflow_uri: str = ""
    """MLflow tracking server; empty: the local one."""
    spark_url: str = ""
    """Spark Connect URL; empty: the local server, in one session that stays warm."""
    spark_driver_memory: str = "1g"
    objects_url: str = ""
    """Where raw bytes are kept, any fsspec URL; empty: `<home>/data/objects`."""
    rag_url: str = ""
    """Where tasks reach rag_service; empty: the local one."""
    ml_url: str = ""
    """Where tasks reach ml_service; empty: the local one."""

    public_mlflow_url: str = ""
    """Where people's browsers reach MLflow; empty: on this machine. Likewise the next two."""
    public_rag_url: str = ""
    public_ml_url: str = ""

    api_key: SecretStr | None = None
    """First API key, with every scope; only its hash is kept in the database."""

    embedder: str = "all-MiniLM-L6-v2"
    """`all-MiniLM-L6-v2` from its wheel, or any sentence-transformers id or folder."""
    answer_model: str = "extractive"
    """`extractive`, `transformers:<hub id | folder | .gguf file>`, or `openai:<base url>[#<model>]` for a server that
    speaks OpenAI's protocol, such as `openai:http://127.0.0.1:11434/v1#llama3.2`; without a model its first one."""
    answer_api_key: SecretStr | None = None
    """Key of that server, where it asks for one."""
    answer_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Longest time that an answer model may write at one answer; what it has written by then is taken."""
    answer_context_tokens: Annotated[int, Field(ge=1024)] = 4096
    """How much a served model reads and writes at once, where its server does not say."""
    reranker: str = "none"
    """`none`, or any sentence-transformers CrossEncoder, by id or folder: it reads a search's best passages again and
    orders them."""
    recency_half_life_days: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """By topic, such as `{"news": 30}`: half of a passage's weight halves with every so many days of its document's
    age; other topics do not age."""
    rewrite_questions: bool = False
    """Whether an answer model that writes may put questions in other words for the search."""
    chunk_tokens: Annotated[int, Field(ge=200, le=500)] = 240
    chunk_overlap_tokens: Annotated[int, Field(ge=0, le=100)] = 40
    refusal_threshold: Annotated[float, Field(ge=0, le=1)] = 0.17
    """Least probability that the passages found hold an answer, with the weights that come with this version: at 0.17
    94 to 95 % of SQuAD's and the sample's answerable questions are answered. Weights of one's own bring their own."""
    least_answered_share: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Least share of a golden set's answerable questions that are answered under the refusal threshold that `cuvee
    evaluate --tune` chooses; of the thresholds that do, it takes the one with the fewest wrong answers."""
    max_document_bytes: Annotated[int, Field(ge=1)] = 20_000_000
    max_document_chars: Annotated[int, Field(ge=1)] = 2_000_000
    read_timeout_seconds: Annotated[int, Field(ge=1)] = 120
    """Longest time that reading one document may take."""
    batch_documents: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Most files that one micro-batch takes from the inbox, and most documents that it reads; the next takes more."""
    settle_seconds: Annotated[float, Field(ge=0)] = 2.0
    """A file in the inbox is taken once it has not changed for this long."""
    delta_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """The index's delta is folded into a new base once it has more than this share of the base's rows ..."""
    delta_least_rows: Annotated[int, Field(ge=0)] = 2_000
    """... and more rows than this,"""
    delta_most_rows: Annotated[int, Field(ge=1)] = 50_000
    """or once it has more rows than this,"""
    dead_share: Annotated[float, Field(ge=0, le=1)] = 0.3
    """or once more than this share of all rows is dead."""
    generations_kept: Annotated[int, Field(ge=2, le=1_000)] = 10
    """Most index generations that can be gone back to."""
    soak_hours: Annotated[float, Field(ge=0)] = 72.0
    """How long a retired index generation can be gone back to, and how long the bytes and texts of deleted and
    superseded documents are kept; `housekeeping` removes them then, and batches (of wine: after a week or more). The
    generation that still holds their words is retired then, and removed a soak later."""
    max_request_bytes: Annotated[int, Field(ge=1_000)] = 8_000_000
    max_upload_bytes: Annotated[int, Field(ge=1_000)] = 100_000_000
    """Largest request that uploads documents; each of them may have `max_document_bytes`."""
    max_bad_row_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Largest share of the wine files' rows that may be rejected for a training run to go on."""
    max_duplicate_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Largest share of the wine files' rows that may be copies of others for it to go on."""
    max_quality_share: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Largest share of wines with one and the same quality with which it goes on."""
    max_training_rows: Annotated[int, Field(ge=1_000)] = 200_000
    """Most distinct wines that a model is trained and judged on; of a larger table the newest observed ones, up to half
    of them, and a fixed sample of the others."""

    wine_margin: Annotated[float, Field(ge=0)] = 0.015
    """Least gain, in squared quality points, that must be proven before a wine model is promoted."""
    wine_confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence of that proof."""
    wine_slice_tolerance: Annotated[float, Field(ge=0)] = 0.02
    """Squared quality points that one colour or one band of predicted quality may lose."""
    wine_recent_days: Annotated[float, Field(gt=0)] = 90.0
    """Qualities observed within so many days of the last one show the world as it is now; ADR 11."""
    wine_latency_limit_ms: Annotated[float, Field(gt=0)] = 100.0
    """Longest median time for one wine."""
    wine_approval: Literal["automatic", "human"] = "automatic"
    """`human`: a model that is proven better waits for somebody's yes in Airflow."""

    monitor_window_hours: Annotated[float, Field(gt=0)] = 72.0
    """How far back `monitor_wine` looks, for what the champion answered and for the qualities that came in."""
    monitor_most_rows: Annotated[int, Field(ge=100)] = 5_000
    """Of these, the newest so many."""
    monitor_least_rows: Annotated[int, Field(ge=30)] = 200
    """Fewer predictions say nothing about drift."""
    monitor_least_observed: Annotated[int, Field(ge=30)] = 50
    """Fewer observed qualities say nothing about the error, and are no reason to train again for inputs that stay where
    they moved."""
    monitor_significance: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """Chance of a false alarm in one report, of drift and of degradation each."""
    monitor_psi_limit: Annotated[float, Field(ge=0)] = 0.2
    """Population stability index over which a column counts as moved."""
    monitor_error_tolerance: Annotated[float, Field(ge=0)] = 0.1
    """Share by which the live mean squared error may be higher than in training."""
    monitor_consecutive: Annotated[int, Field(ge=1)] = 2
    """So many alarming verdicts in a row ask for a retraining; strong evidence asks at once. The windows of reports an
    hour apart share nearly all their rows, so a chance alarm is rarely gone by the next: what keeps chance out are the
    limits above."""
    monitor_cooldown_hours: Annotated[float, Field(ge=0)] = 24.0
    """Time after one retraining was asked for in which none is asked for again."""

    prediction_flush_seconds: Annotated[float, Field(ge=0, le=60)] = 0.2
    """How long an answered prediction may wait for its row: what was answered within that time, and while rows are
    being written, a killed ml_service loses at most while the database answers. 0: an answer waits for its row, and
    nothing is lost."""
    prediction_queue_rows: Annotated[int, Field(ge=10_000)] = 50_000
    """Most predictions that wait for their rows, also while the database is down: what a kill loses at the very most.
    Beyond them requests wait, then get 503."""

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, url: str) -> str:
        # Imported here, as DAG files read settings and need no database.
        import sqlalchemy as sa

        # Many hosts print it so; SQLAlchemy knows the other name only.
        url = re.sub("^postgres://", "postgresql://", url)
        try:
            known = not url or sa.make_url(url).drivername in ("postgresql", "postgresql+psycopg2")
        except (sa.exc.ArgumentError, ValueError):
            known = False
        if not known:
            raise ValueError("write it as postgresql://user:password@host:port/database, special characters as %XX")
        return url

    @model_validator(mode="after")
    def _fill_public_urls(self) -> "Settings":
        for name, port in (("mlflow", self.mlflow_port), ("rag", self.rag_port), ("ml", self.ml_port)):
            if not getattr(self, f"public_{name}_url"):
                object.__setattr__(self, f"public_{name}_url", f"http://127.0.0.1:{port}")
        return self

    @classmethod
    def load(cls, home: Path | None = None) -> "Settings":
        """Read the environment, then `<home>/.env`.

        Raises:
            ConfigurationError: a value is out of its range or of the wrong type, or the file is not UTF-8.
        """
        folder = Path(home or os.environ.get("CUVEE_HOME") or PROJECT_DIR).resolve()
        try:
            return cls(_env_file=folder / ".env", home=folder)
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{folder / '.env'} is not UTF-8 ({error}); save it as UTF-8.") from error
        except SettingsError as error:
            raise ConfigurationError(
                f'A setting is wrong: {error}. CUVEE_RECENCY_HALF_LIFE_DAYS is a JSON object, such as {{"news": 30}}.'
            ) from error
        except ValidationError as error:
            wrong = "; ".join(f"CUVEE_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
            raise ConfigurationError(
                f"A setting is wrong: {wrong}. Settings come from the environment and from {folder / '.env'}."
            ) from error

    @property
    def env_file(self) -> Path:
        return self.home / ".env"

    @property
    def data_dir(self) -> Path:
        return self.home / "data"

    @property
    def mlruns_dir(self) -> Path:
        return self.home / "mlruns"

    @property
    def inbox_dir(self) -> Path:
        return self.data_dir / "inbox"

    @property
    def batches_dir(self) -> Path:
        """Parquet that travels between the steps of one micro-batch or one training run."""
        return self.data_dir / "batches"

    @property
    def index_dir(self) -> Path:
        return self.data_dir / "index"

    @property
    def wine_dir(self) -> Path:
        """The wine table: the home's own `data/wine` if there is one, else the project's."""
        own = self.data_dir / "wine"
        return own if own.is_dir() else PROJECT_DIR / "data" / "wine"

    @property
    def golden_dir(self) -> Path:
        """Questions with their answers: the home's own `data/golden` if there is one, else the project's."""
        own = self.data_dir / "golden"
        return own if own.is_dir() else PROJECT_DIR / "data" / "golden"

    @property
    def postgres_dir(self) -> Path:
        return self.data_dir / "postgres"

    @property
    def run_dir(self) -> Path:
        """Process ids, sockets and generated configuration of the local stack."""
        return self.data_dir / "run"

    @property
    def logs_dir(self) -> Path:
        return self.data_dir / "logs"

    @cached_property
    def socket_dir(self) -> Path:
        """Folder of the unix sockets (PostgreSQL, supervisor), short enough for a socket address."""
        wanted = self.run_dir / "sockets"
        if len(os.fsencode(wanted)) <= _LONGEST_SOCKET_DIR:
            return wanted
        return Path(tempfile.gettempdir()) / f"cuvee-{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]}"

    def local_database_url(self, database: str) -> str:
        """SQLAlchemy URL of one database in the embedded PostgreSQL."""
        return f"postgresql+psycopg2://postgres@/{database}?host={quote(str(self.socket_dir))}"

    @property
    def resolved_database_url(self) -> str:
        return self.database_url or self.local_database_url("cuvee")

    @property
    def resolved_mlflow_uri(self) -> str:
        return self.mlflow_uri or f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def resolved_spark_url(self) -> str:
        return self.spark_url or f"sc://127.0.0.1:{self.spark_connect_port}"

    @property
    def resolved_objects_url(self) -> str:
        return self.objects_url or str(self.data_dir / "objects")

    @property
    def resolved_rag_url(self) -> str:
        return self.rag_url or f"http://127.0.0.1:{self.rag_port}"

    @property
    def resolved_ml_url(self) -> str:
        return self.ml_url or f"http://127.0.0.1:{self.ml_port}"
