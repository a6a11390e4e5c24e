"""Well-known modules and the distributions that bring them, for what is imported and not installed here.

A module that is in no table is never taken for a distribution of its name: anybody can register that name on the index.
So only what a project itself documents stands here, and a line is added only after reading it there:
``https://pypi.org/project/<distribution>/`` says how it is installed and imported. The lines were compared with the
tables of Pants (https://github.com/pantsbuild/pants, ``default_module_mapping.py``) and pipreqs
(https://github.com/bndr/pipreqs, ``mapping``); where those differ, the project's own page is right.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["KNOWN_MODULES", "SIBLINGS", "distribution_of", "is_namespace", "is_usual", "modules_of", "siblings_of"]

_SAME = """
    accelerate aiohttp altair anthropic anyio apscheduler attrs bentoml bokeh boto3 botocore cachetools catboost
    cffi click cloudpickle cryptography cvxpy dask datasketch diffusers dill django duckdb elasticsearch faker
    falcon fastapi feast flask flax fsspec genshi gensim geopandas gradio gunicorn h2o h5py hdbscan httpx imageio
    jax jinja2 joblib jsonschema keras kubernetes langchain lightgbm lightning litellm lxml lz4 markdown matplotlib
    mlflow msal msgpack networkx nltk numba numexpr numpy onnx onnxruntime openai optuna orjson packaging pandas
    patsy peft pgvector phonenumbers plotly polars prophet psutil psycopg py4j pyarrow pydantic pymongo pymysql
    pypdf pyspark pytesseract pytest rapidfuzz ray rdkit redis regex requests rich safetensors sagemaker scipy
    seaborn sentencepiece sentry_sdk setuptools shap shapely skops soundfile spacy sqlalchemy starlette statsmodels
    streamlit tensorflow tiktoken timm tokenizers toml torch torchaudio torchvision tornado tqdm transformers
    tritonclient ujson unidecode urllib3 uvicorn uvloop vllm wandb websockets xarray xgboost zstandard
"""
"""Modules whose distribution has the same name."""

KNOWN_MODULES: Mapping[str, str] = {
    **{name: name.replace("_", "-") for name in _SAME.split()},
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "Cryptodome": "pycryptodomex",
    "Cython": "cython",
    "IPython": "ipython",
    "Levenshtein": "levenshtein",
    "MeCab": "mecab-python3",
    "MySQLdb": "mysqlclient",
    "OpenGL": "pyopengl",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "PyPDF2": "pypdf2",
    "Stemmer": "pystemmer",
    "Xlib": "python-xlib",
    "_cffi_backend": "cffi",
    "absl": "absl-py",
    "ahocorasick": "pyahocorasick",
    "airflow": "apache-airflow",
    "apache_beam": "apache-beam",
    "atlassian": "atlassian-python-api",
    "attr": "attrs",
    "azure.ai.ml": "azure-ai-ml",
    "azure.core": "azure-core",
    "azure.cosmos": "azure-cosmos",
    "azure.identity": "azure-identity",
    "azure.keyvault.secrets": "azure-keyvault-secrets",
    "azure.servicebus": "azure-servicebus",
    "azure.storage.blob": "azure-storage-blob",
    "azure.storage.queue": "azure-storage-queue",
    "barcode": "python-barcode",
    "bayes_opt": "bayesian-optimization",
    "bs4": "beautifulsoup4",
    "bson": "pymongo",
    "cairo": "pycairo",
    "camelot": "camelot-py",
    "cassandra": "cassandra-driver",
    "category_encoders": "category-encoders",
    "clickhouse_connect": "clickhouse-connect",
    "clickhouse_driver": "clickhouse-driver",
    "confluent_kafka": "confluent-kafka",
    "corsheaders": "django-cors-headers",
    "cpuinfo": "py-cpuinfo",
    "cv2": "opencv-python",
    "databricks.sdk": "databricks-sdk",
    "databricks.sql": "databricks-sql-connector",
    "dateutil": "python-dateutil",
    "debug_toolbar": "django-debug-toolbar",
    "decouple": "python-decouple",
    "discord": "discord-py",
    "django_filters": "django-filter",
    "dns": "dnspython",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "duckduckgo_search": "duckduckgo-search",
    "ee": "earthengine-api",
    "elasticapm": "elastic-apm",
    "email_validator": "email-validator",
    "enchant": "pyenchant",
    "engineio": "python-engineio",
    "erfa": "pyerfa",
    "faiss": "faiss-cpu",
    "ffmpeg": "ffmpeg-python",
    "fitz": "pymupdf",
    "flask_cors": "flask-cors",
    "flask_login": "flask-login",
    "flask_sqlalchemy": "flask-sqlalchemy",
    "fontTools": "fonttools",
    "fpdf": "fpdf2",
    "gi": "pygobject",
    "git": "gitpython",
    "github": "pygithub",
    "gitlab": "python-gitlab",
    "gnupg": "python-gnupg",
    "google.api_core": "google-api-core",
    "google.auth": "google-auth",
    "google.cloud.aiplatform": "google-cloud-aiplatform",
    "google.cloud.bigquery": "google-cloud-bigquery",
    "google.cloud.firestore": "google-cloud-firestore",
    "google.cloud.logging": "google-cloud-logging",
    "google.cloud.pubsub": "google-cloud-pubsub",
    "google.cloud.pubsub_v1": "google-cloud-pubsub",
    "google.cloud.secretmanager": "google-cloud-secret-manager",
    "google.cloud.speech": "google-cloud-speech",
    "google.cloud.storage": "google-cloud-storage",
    "google.cloud.vision": "google-cloud-vision",
    "google.genai": "google-genai",
    "google.generativeai": "google-generativeai",
    "google.oauth2": "google-auth",
    "google.protobuf": "protobuf",
    "google_auth_oauthlib": "google-auth-oauthlib",
    "googleapiclient": "google-api-python-client",
    "graphql": "graphql-core",
    "gremlin_python": "gremlinpython",
    "gridfs": "pymongo",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "grpc_status": "grpcio-status",
    "grpc_tools": "grpcio-tools",
    "hamcrest": "pyhamcrest",
    "hcl2": "python-hcl2",
    "huggingface_hub": "huggingface-hub",
    "hummingbird": "hummingbird-ml",
    "hydra": "hydra-core",
    "imblearn": "imbalanced-learn",
    "impala": "impyla",
    "influxdb_client": "influxdb-client",
    "jks": "pyjks",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "kafka": "kafka-python",
    "langchain_community": "langchain-community",
    "langchain_core": "langchain-core",
    "langchain_openai": "langchain-openai",
    "ldap": "python-ldap",
    "ldclient": "launchdarkly-server-sdk",
    "linebot": "line-bot-sdk",
    "llama_cpp": "llama-cpp-python",
    "llama_index": "llama-index",
    "magic": "python-magic",
    "mailparser": "mail-parser",
    "memcache": "python-memcached",
    "mpl_toolkits": "matplotlib",
    "mysql.connector": "mysql-connector-python",
    "mysqlx": "mysql-connector-python",
    "nacl": "pynacl",
    "nats": "nats-py",
    "netCDF4": "netcdf4",
    "newspaper": "newspaper3k",
    "nmap": "python-nmap",
    "oauth2_provider": "django-oauth-toolkit",
    "odf": "odfpy",
    "opensearchpy": "opensearch-py",
    "opentelemetry.exporter.otlp": "opentelemetry-exporter-otlp",
    "opentelemetry.metrics": "opentelemetry-api",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.trace": "opentelemetry-api",
    "osgeo": "gdal",
    "paho": "paho-mqtt",
    "pdfminer": "pdfminer-six",
    "piptools": "pip-tools",
    "pkg_resources": "setuptools",
    "plaid": "plaid-python",
    "pptx": "python-pptx",
    "progressbar": "progressbar2",
    "prometheus_client": "prometheus-client",
    "psycopg2": "psycopg2-binary",
    "pydispatch": "pydispatcher",
    "pylsp": "python-lsp-server",
    "pynvml": "nvidia-ml-py",
    "pysat": "python-sat",
    "pythonjsonlogger": "python-json-logger",
    "pytorch_lightning": "pytorch-lightning",
    "pywt": "pywavelets",
    "qdrant_client": "qdrant-client",
    "readability": "readability-lxml",
    "rest_framework": "djangorestframework",
    "rest_framework_simplejwt": "djangorestframework-simplejwt",
    "ruamel.yaml": "ruamel-yaml",
    "scikitplot": "scikit-plot",
    "sentence_transformers": "sentence-transformers",
    "serial": "pyserial",
    "shapefile": "pyshp",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "sklearn_crfsuite": "sklearn-crfsuite",
    "skmultilearn": "scikit-multilearn",
    "skopt": "scikit-optimize",
    "sksurv": "scikit-survival",
    "skvideo": "scikit-video",
    "slack_sdk": "slack-sdk",
    "slugify": "python-slugify",
    "snappy": "python-snappy",
    "snowflake.connector": "snowflake-connector-python",
    "snowflake.ml": "snowflake-ml-python",
    "snowflake.snowpark": "snowflake-snowpark-python",
    "snowflake.sqlalchemy": "snowflake-sqlalchemy",
    "socketio": "python-socketio",
    "socks": "pysocks",
    "sseclient": "sseclient-py",
    "stomp": "stomp-py",
    "strawberry": "strawberry-graphql",
    "surprise": "scikit-surprise",
    "tabula": "tabula-py",
    "talib": "ta-lib",
    "telebot": "pytelegrambotapi",
    "telegram": "python-telegram-bot",
    "tensorflow_addons": "tensorflow-addons",
    "tensorflow_datasets": "tensorflow-datasets",
    "tensorflow_hub": "tensorflow-hub",
    "tensorflow_probability": "tensorflow-probability",
    "tensorflow_text": "tensorflow-text",
    "tflite_runtime": "tflite-runtime",
    "torch_geometric": "torch-geometric",
    "typing_extensions": "typing-extensions",
    "umap": "umap-learn",
    "usb": "pyusb",
    "vertexai": "google-cloud-aiplatform",
    "websocket": "websocket-client",
    "whisper": "openai-whisper",
    "whois": "python-whois",
    "win32api": "pywin32",
    "win32com": "pywin32",
    "winrm": "pywinrm",
    "wx": "wxpython",
    "yaml": "pyyaml",
    "z3": "z3-solver",
    "zmq": "pyzmq",
    "zope.interface": "zope-interface",
}
"""Dotted name of a module, the longest that fits counts, to the normalised name of its distribution (PEP 503)."""

SIBLINGS: tuple[frozenset[str], ...] = tuple(
    frozenset(line.split())
    for line in """
    opencv-python opencv-python-headless opencv-contrib-python opencv-contrib-python-headless
    onnxruntime onnxruntime-gpu onnxruntime-directml onnxruntime-openvino onnxruntime-training
    tensorflow tensorflow-cpu tensorflow-gpu tensorflow-intel tensorflow-macos tensorflow-rocm tf-nightly
    faiss-cpu faiss-gpu faiss-gpu-cu11 faiss-gpu-cu12
    psycopg2 psycopg2-binary
    pillow pillow-simd
    xgboost xgboost-cpu
    pycrypto pycryptodome
    levenshtein python-levenshtein
    cupy cupy-cuda11x cupy-cuda12x cupy-cuda13x
    paddlepaddle paddlepaddle-gpu
    python-magic python-magic-bin
    kafka-python kafka-python-ng
    nvidia-ml-py pynvml
    mysqlclient mysql-python
    pysqlite3 pysqlite3-binary
    pyjwt jwt
    """.strip().splitlines()
)
"""Distributions that bring the same module, so that only one of each line may be installed."""


def distribution_of(module: str) -> str | None:
    """Return the distribution of a well-known module, by the longest beginning of its dotted name."""
    parts = module.split(".")
    names = (".".join(parts[:depth]) for depth in range(len(parts), 0, -1))
    return next((KNOWN_MODULES[name] for name in names if name in KNOWN_MODULES), None)


def is_namespace(name: str) -> bool:
    """Return whether well-known modules of several distributions lie below a name, such as `google.cloud`."""
    return name not in KNOWN_MODULES and any(module.startswith(f"{name}.") for module in KNOWN_MODULES)


def modules_of(distribution: str) -> frozenset[str]:
    """Return the well-known modules that a distribution, by its normalised name, or a sibling of it brings."""
    family = siblings_of(distribution)
    return frozenset(module for module, distribution in KNOWN_MODULES.items() if distribution in family)


def is_usual(distribution: str) -> bool:
    """Return whether a distribution, by its normalised name, is the one that a well-known module means by itself."""
    return distribution in KNOWN_MODULES.values()


def siblings_of(distribution: str) -> frozenset[str]:
    """Return the distributions that bring the same module as one, itself included, by normalised names."""
    return next((group for group in SIBLINGS if distribution in group), frozenset((distribution,)))
