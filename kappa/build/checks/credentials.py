"""Files of passwords, tokens and private keys, known by their names and by what they hold: no wildcard packs them."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

__all__ = ["credential_in"]

_FOLDERS = (
    ".aws",
    ".azure",
    ".docker",
    ".gcloud",
    ".gnupg",
    ".huggingface",
    ".kaggle",
    ".kube",
    ".oci",
    ".snowsql",
    ".ssh",
    ".config/gcloud",
)
_PASSWORDS = (
    ".env",
    ".env.*",
    "*.env",
    ".envrc",
    ".boto",
    ".databrickscfg",
    ".dockercfg",
    ".dockerconfigjson",
    ".git-credentials",
    ".htpasswd",
    ".my.cnf",
    ".mylogin.cnf",
    "htpasswd",
    "kubeconfig",
    "pip.conf",
    "rclone.conf",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".passwd-s3fs",
    ".pgpass",
    ".pypirc",
    ".s3cfg",
    ".terraformrc",
    ".vault-token",
    "credentials",
    "credentials.*",
    "*[-_.]credentials.json",
    "client_secret*.json",
    "kaggle.json",
    "secret.*",
    "secrets.*",
    "service[-_]account*.json",
    "*.tfstate",
    "*.tfstate.backup",
    "*.tfvars",
)
_KEYS = (
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
    "*.jks",
    "*.kdbx",
    "*.key",
    "*.keystore",
    "*.p12",
    "*.pfx",
    "*.ppk",
)
_HARMLESS = (".py", ".pyi", ".example", ".sample", ".template", ".dist", ".pub")
_COPY = re.compile(r"(?P<name>.+?)\.(backup|bak|old|orig|save|tmp)")
"""Names of a file's copies."""
_TEXTS = ("", ".asc", ".cer", ".cert", ".crt", ".json", ".pem", ".txt", ".yaml", ".yml")
_PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----")
_LONGEST_BYTES = 64 * 1024
"""Files of keys are smaller."""


def credential_in(path: PurePosixPath, file: Path) -> str:
    """Return why a file looks like a credential; an empty text if it does not.

    ``path`` is where it lies in the project.
    """
    name, folder = path.name.lower(), f"/{path.parent.as_posix().lower()}/"
    if (secret_folder := next((name for name in _FOLDERS if f"/{name}/" in folder), "")) != "":
        return f"lies in `{secret_folder}`, where credentials are kept"
    if name.endswith(_HARMLESS):
        return ""
    if any(fnmatchcase(name, pattern) for pattern in _PASSWORDS):
        return "is named like a file of passwords"
    if any(fnmatchcase(name, pattern) for pattern in _KEYS):
        return "is named like a file of keys"
    if (copy := _COPY.fullmatch(name)) is not None:
        return credential_in(path.with_name(copy["name"]), file)
    if PurePosixPath(name).suffix in _TEXTS and _holds_private_key(file):
        return "holds a private key"
    return ""


def _holds_private_key(file: Path) -> bool:
    try:
        return file.stat().st_size <= _LONGEST_BYTES and _PRIVATE_KEY.search(file.read_bytes()) is not None
    except OSError:
        return False
