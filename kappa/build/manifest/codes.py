"""The kinds of problems that a kappafile can have, each with its stable code.

A code never changes its meaning and is never given to another kind: people ignore, search and link them. The first
digit says where the problem is: 1 the text, 2 the keys and values, 3 other files and other tables, 4 the service's
class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CODES", "Code"]


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of problem."""

    title: str
    """What is wrong, in a few words."""
    explanation: str
    """Why it is a problem, and what to do."""
    wrong: str = ""
    """A piece of a kappafile with the problem."""
    right: str = ""
    """The same piece without it."""


CODES: Mapping[str, Code] = {
    "KF101": Code(
        "The file cannot be read",
        "The file is missing, may not be read, is larger than 1 MiB, or is not UTF-8. Windows PowerShell's `>` writes "
        "UTF-16: save the file as UTF-8. Data belongs into files of their own, named in `[bundle] include`.",
    ),
    "KF102": Code(
        "The file is not valid TOML or YAML",
        "The text breaks a rule of its syntax. The statement that holds the mistake is left out and the rest is still "
        "checked, so other problems may be listed beside this one.",
        '[service]\nname = "ChurnScorer',
        '[service]\nname = "ChurnScorer"',
    ),
    "KF103": Code(
        "A key is given twice",
        "One of the two values would be lost without a word. Remove one; the message marks both places.",
        '[service]\nname = "ChurnScorer"\nname = "Churn"',
        '[service]\nname = "ChurnScorer"',
    ),
    "KF104": Code(
        "A value that the other syntax does not have",
        "A kappafile means the same in TOML and in YAML and can be written as JSON, so dates, infinities, tags, merge "
        "keys and keys that are not text are refused. Write the value as text or as a number, and repeat what an "
        "alias would have shared.",
        '[artifacts.model]\ntype = "sklearn"\npath = "model.joblib"\nmetadata = { trained = 2026-01-31 }',
        '[artifacts.model]\ntype = "sklearn"\npath = "model.joblib"\nmetadata = { trained = "2026-01-31" }',
    ),
    "KF105": Code(
        "The file is written for another version of Kappa",
        "`requires_kappa` leaves this version out, or `kappafile` names a format that it does not read. It is the only "
        "problem reported, because the others may come from keys that this version does not know. Upgrade Kappa, or "
        "change `requires_kappa` if the file needs nothing new.",
        'kappafile = 1\nrequires_kappa = ">=99"',
        'kappafile = 1\nrequires_kappa = ">=0.1"',
    ),
    "KF201": Code(
        "The key is not known",
        "A key that Kappa does not know would be ignored, and with it what you meant. The message names the key that "
        "was probably meant, also where other tools have another word for it, and where a key belongs that stands in "
        "the wrong table.",
        '[env]\ndependencies = ["xgboost>=2"]',
        '[env]\npip_packages = ["xgboost>=2"]',
    ),
    "KF202": Code(
        "The value is of the wrong kind",
        "The key takes another kind of value: text, a number, a list, a table. Nothing is converted silently; a "
        "version number without quotes would lose its last zero (`3.10` is the number 3.1).",
        "[env]\npython = 3.10",
        '[env]\npython = "3.10"',
    ),
    "KF203": Code(
        "A key is missing",
        "Something is needed that has no default. `kappa explain KEY` says what it is for and shows an example.",
        '[apis.predict]\nfunction = "handlers:predict"',
        '[apis.predict]\nfunction = "handlers:predict"\ninput = "json"',
    ),
    "KF204": Code(
        "The value is not allowed",
        "The value is of the right kind, but is not one of those that the key takes: a word that is not in the list, "
        "a number out of bounds, a name with characters that names cannot have.",
        '[security]\npickle = "forbidden"',
        '[security]\npickle = "allow"',
    ),
    "KF205": Code(
        "There is no plugin of that type",
        "No adapter or artifact type of that name is built in, and none is installed. Kappa's own have no dot in "
        "their names; those of other distributions do, and come with `pip install`.\n\n"
        "A model of a framework without a type, like LiteRT or Core ML, is a file that your own code loads: "
        "`include` in `[bundle]` packs it, and the function that `setup` in `[service]` names returns it, once per "
        "worker, by a name that your functions take as a parameter. In `handlers.py`: `def setup()` ends with "
        '`return {"net": Interpreter(str(Path(__file__).with_name("digits.tflite")))}`, and '
        "`def predict(rows, net)` answers requests.",
        '[service]\nname = "Digits"\n\n[artifacts.model]\ntype = "tflite"\npath = "digits.tflite"\n\n'
        '[apis.predict]\nartifact = "model"\ninput = "ndarray"',
        '[service]\nname = "Digits"\nsetup = "handlers:setup"\n\n[env]\npip_packages = ["ai-edge-litert"]\n\n'
        '[bundle]\ninclude = ["digits.tflite"]\n\n'
        '[apis.predict]\nfunction = "handlers:predict"\ninput = "ndarray"',
    ),
    "KF206": Code(
        "A plugin cannot be loaded",
        "The plugin is installed, but its module fails when it is imported, or what its entry point names is not a "
        "plugin. The message says what happened; install what it lacks, or tell its authors.",
    ),
    "KF207": Code(
        "Keys exclude each other, or one needs another",
        "Both keys would answer the same question, or one of them says something only beside another. Keep one of the "
        "two, or add the one that is needed.",
        '[apis.predict]\nfunction = "handlers:predict"\nartifact = "model"\ninput = "json"',
        '[apis.predict]\nfunction = "handlers:predict"\ninput = "json"',
    ),
    "KF208": Code(
        "A key has no effect",
        "Another key decides alone, or the one that it belongs to is missing: the value is read and then ignored. "
        "Remove one of the two, or add the other.",
        '[env]\npip_packages = ["xgboost>=2"]\nrequirements_txt_file = "requirements.txt"',
        '[env]\nrequirements_txt_file = "requirements.txt"',
    ),
    "KF301": Code(
        "The artifact is not declared",
        "An API names an artifact for which there is no table. Correct the name, or add `[artifacts.NAME]`.",
        '[apis.predict]\nartifact = "modle"\ninput = "json"',
        '[apis.predict]\nartifact = "model"\ninput = "json"',
    ),
    "KF302": Code(
        "A file or folder does not exist",
        "Paths are relative to the kappafile, wherever the command is called from. A model file is written by your "
        "own training script: run it first.",
        '[artifacts.model]\ntype = "sklearn"\npath = "models/model.joblib"',
        '[artifacts.model]\ntype = "sklearn"\npath = "model.joblib"',
    ),
    "KF303": Code(
        "A path leaves the project",
        "A bundle is made of what lies beside the kappafile, so that a build means the same on every machine. Links "
        "are followed before this is judged. Copy the file into the project. A model may stay in a mounted store or a "
        "cache: `kappa build --artifact NAME=PATH` packs it from there.",
        '[artifacts.model]\ntype = "sklearn"\npath = "../model.joblib"',
        '[artifacts.model]\ntype = "sklearn"\npath = "model.joblib"',
    ),
    "KF304": Code(
        "The module does not exist",
        "`module:function` names a module by its dotted path from the kappafile's folder: `scoring/handlers.py` is "
        "`scoring.handlers`.",
        '[apis.predict]\nfunction = "handler:predict"\ninput = "json"',
        '[apis.predict]\nfunction = "handlers:predict"\ninput = "json"',
    ),
    "KF305": Code(
        "The module has no such function or class",
        "The module was read, not run: only what its text defines or imports at the top level is seen. A function "
        "that is made at run time can be given a name there by a small `def` that calls it.",
        '[apis.predict]\nfunction = "handlers:predictt"\ninput = "json"',
        '[apis.predict]\nfunction = "handlers:predict"\ninput = "json"',
    ),
    "KF306": Code(
        "A parameter cannot be filled",
        "The first parameter is the adapter's input. Every other must be named `task`, or `tasks` for a batch, or like "
        "an artifact, or like a key of what `setup` returns, or have a default. `*args` and `**kwargs` name nothing.",
    ),
    "KF307": Code(
        "The API is not declared",
        "An example calls an API for which there is no table. Correct the name, or add `[apis.NAME]`.",
        '[[examples]]\nname = "one customer"\napi = "predit"\ninput = { tenure = 3 }',
        '[[examples]]\nname = "one customer"\napi = "predict"\ninput = { tenure = 3 }',
    ),
    "KF308": Code(
        "The input adapter and `batch` do not fit",
        "Adapters of tables bring rows, so their functions take batches; some other adapters bring one request at a "
        "time. Leave `batch` out and it is as the adapter needs it.",
        '[apis.predict]\nartifact = "model"\ninput = "dataframe"\nbatch = false',
        '[apis.predict]\nartifact = "model"\ninput = { type = "dataframe", columns = { age = "int64" } }\nbatch = true',
    ),
    "KF309": Code(
        "The model file is not of its type",
        "The first bytes of the file are not those that the type writes: the path names another file, or the file "
        "was saved in another way than `type` says.",
        '[artifacts.model]\ntype = "sklearn"\npath = "handlers.py"',
        '[artifacts.model]\ntype = "sklearn"\npath = "model.joblib"',
    ),
    "KF310": Code(
        "Two APIs have the same route",
        "Only one of them could answer. An API's route is its name unless `route` says otherwise.",
        '[apis.predict]\nfunction = "handlers:predict"\ninput = "json"\n\n'
        '[apis.score]\nfunction = "handlers:predict"\ninput = "json"\nroute = "predict"',
        '[apis.predict]\nfunction = "handlers:predict"\ninput = "json"\n\n'
        '[apis.score]\nfunction = "handlers:predict"\ninput = "json"\nroute = "score"',
    ),
    "KF311": Code(
        "A module has a name that is taken",
        "The bundle is a package of its own with files beside your code, and Python has modules of its own: one of the "
        "same name would hide them, or be hidden. Rename the module. A service cannot be called like a distribution "
        "that it needs, or like a module of one: its package would overwrite that one.",
    ),
    "KF312": Code(
        "The Python code cannot be parsed",
        "The module has a syntax error, or is written for a newer Python than the one that runs Kappa. The message "
        "shows the line. It is a warning where only an optional import asks for the module.",
    ),
    "KF313": Code(
        "A pattern matches no file",
        "A pattern of `[bundle]` that selects nothing is usually misspelt. Patterns are relative to the kappafile; "
        "`**` stands for any number of folders.",
        '[bundle]\ninclude = ["lookups/*.csv"]',
        '[bundle]\ninclude = ["lookup/*.csv"]',
    ),
    "KF314": Code(
        "An imported module cannot be found",
        "The module is neither your own, nor installed here, nor in the short table of well-known ones, and nothing "
        "that you name in `[env]` could bring it. It is never taken for a distribution of its name: that may be "
        "another project. The message says where it was looked for, and where a module of that name lies. Your own "
        "code in another folder is named in `[bundle] paths`, or installed (`pip install -e`); a package of an index "
        "is installed here, or named in `pip_packages`.",
    ),
    "KF315": Code(
        "An artifact is a pickle",
        "Loading a pickle runs code that the file chooses, so `security.pickle` decides: `warn` says so, `forbid` "
        "refuses, `allow` is silent. Allow it for files that you made yourself.",
        '[security]\npickle = "forbid"',
        '[security]\npickle = "allow"',
    ),
    "KF316": Code(
        "A requirement is not valid",
        "`pip_packages` takes requirements as pip does (PEP 508): a name, extras, versions, a marker.",
        '[env]\npip_packages = ["xgboost=2"]',
        '[env]\npip_packages = ["xgboost==2"]',
    ),
    "KF317": Code(
        "A module that is needed is excluded",
        "A pattern of `exclude` takes a module out of the bundle that the code imports. Narrow the pattern.",
        '[bundle]\nexclude = ["*.py"]',
        '[bundle]\nexclude = ["test_*.py"]',
    ),
    "KF318": Code(
        "A table has no signature",
        "Nothing checks names and order: a model that was fitted without names takes columns by their places, and a "
        "request with these in another order gets another answer. And requests whose columns have other dtypes never "
        "share a batch: clients that send 5 and 5.0 batch worse. With `columns`, names with dtypes, or `columns_from`, "
        "a file of some rows, every request is brought to them or refused; an example shows what values should be too, "
        "but refuses nothing.",
        '[apis.predict]\nfunction = "handlers:predict"\ninput = "dataframe"',
        '[apis.predict]\nfunction = "handlers:predict"\ninput = { type = "dataframe", columns = { tenure = "int64" } }',
    ),
    "KF319": Code(
        "An index cannot be named in a bundle",
        "The URL of an index stands in the lock of every bundle, so it may hold no password, and no folder of one "
        "machine. Credentials reach the resolver through its environment: `PIP_INDEX_URL`, `PIP_EXTRA_INDEX_URL`, a "
        "`.netrc` file or pip's own configuration.",
        '[env]\npip_index_url = "https://me:secret@packages.example.org/simple"',
        '[env]\npip_index_url = "https://packages.example.org/simple"',
    ),
    "KF320": Code(
        "A lock beside `pyproject.toml` is out of date",
        "`uv.lock` and `pylock.toml` say at which versions the dependencies of `pyproject.toml` are taken, as long as "
        "they were made from the same dependencies. This one was not, so the newest versions are resolved instead.",
    ),
    "KF321": Code(
        "The conda environment cannot be used",
        "The environment file must be one that `conda env update` reads, with `channels` and `dependencies`. Python's "
        "version comes from `env.python`, and packages of pip from `pip_packages`, which pins them with hashes.",
        '[env]\npython = "3.11"\nconda_dependencies = ["python=3.9", "libgdal=3.9"]',
        '[env]\npython = "3.11"\nconda_dependencies = ["libgdal=3.9"]',
    ),
    "KF322": Code(
        "The sample of a table cannot be used",
        "`columns_from` names a file with some rows as clients will send them: CSV with a header line, JSON, JSON "
        "lines or Parquet. Its columns need names, and dtypes that `columns` could declare. `columns` beside it gives "
        "single columns of the sample other dtypes.",
        '[apis.predict]\nfunction = "handlers:predict"\n'
        'input = { type = "dataframe", columns_from = "requirements.txt" }',
        '[apis.predict]\nfunction = "handlers:predict"\n'
        'input = { type = "dataframe", columns_from = "samples/rows.json" }',
    ),
    "KF323": Code(
        "A function yields",
        "A function with `yield` returns a generator, of which nothing has run yet. Streaming is not supported yet: an "
        "API's function returns the whole result, `setup` returns what it makes, and `teardown` closes it.",
    ),
    "KF324": Code(
        "A function is a method",
        "A method needs an object of its class, and none is made for a plain function. A service that is a class "
        "is named by `class`; a function that needs no object is a `@staticmethod`, or stands outside of the class.",
    ),
    "KF325": Code(
        "An API could be batched",
        "The model's own method takes the rows of its argument one by one, so that requests that wait at the same time "
        "could share a call. Without `batch` they do; with `false`, each has a call of its own, and under load far "
        "fewer are answered.",
        '[apis.predict]\nartifact = "model"\ninput = "ndarray"\nbatch = false',
        '[apis.predict]\nartifact = "model"\ninput = "ndarray"',
    ),
    "KF326": Code(
        "A pattern would pack a secret",
        "A wildcard or a folder takes files with it that are named like those of passwords, tokens or keys, or that "
        "hold a private key. A bundle is copied, pushed and made an image of, and all its users can read them. "
        '`.gitignore` says nothing to a build: leave such files out with `exclude`, e.g. `exclude = [".env"]`. '
        "`secrets` in `[env]` names what the service is given when it starts. A file that is needed all the same is "
        "named by itself, as its whole path.",
    ),
    "KF327": Code(
        "A file cannot be packed under its name",
        "The name is not UTF-8, in which the manifest lists all files, or it is one that Python and other tools give "
        "to files of their own, like `__pycache__`, which no bundle holds. Rename the file, or exclude it.",
    ),
    "KF328": Code(
        "The bundle cannot be loaded",
        "Before a bundle takes its place, its code is imported and its models are loaded once, in a fresh process that "
        "has nothing of the project but the bundle. A file or module that is missing there would be missing wherever "
        "the bundle is served: name it in `include` or `modules`, and find files from `Path(__file__)`. `setup` and "
        "the service's class are not called, and secrets are placeholders. `kappa build --no-try` skips it.",
    ),
    "KF329": Code(
        "The set-up script cannot be run",
        "`setup_sh` is run by a shell: the one that its first line names (`sh`, `bash`, `dash`, `ash`, `ksh`, `zsh`), "
        "with the options there, else bash. It runs before the service's packages are in the image. What needs those, "
        "such as a download of language data, goes into the block `labels` of a `dockerfile_template`, as the how-to "
        "about images shows.",
        '[env]\nsetup_sh = "#!/usr/bin/env python3"',
        '[env]\nsetup_sh = "#!/usr/bin/env bash"',
    ),
    "KF330": Code(
        "A URL holds a secret",
        "What a service declares stands in `kappa.yml`, and most of it in the Dockerfile and in the image: each "
        "of them reveals the secret. A variable that holds one is named in `secrets`, and set where the service "
        "starts; a script reads one from `/run/secrets`, where `kappa containerize --secret` lends it.",
        '[env]\nvariables = { CACHE_URL = "redis://:hunter2@cache/0" }',
        '[env]\nsecrets = ["CACHE_URL"]',
    ),
    "KF331": Code(
        "The template of the Dockerfile cannot be used",
        "`dockerfile_template` is a Jinja template that extends `Dockerfile.j2` and adds to its blocks. A block that "
        "`Dockerfile.j2` does not have would stand nowhere in the Dockerfile.",
    ),
    "KF332": Code(
        "The model has no such method",
        "The file of the model names its class, and neither that class nor one that it inherits from defines the "
        "method that `method` names. Nothing was loaded to find this out; what a file does not tell, the build tries.",
    ),
    "KF333": Code(
        "The model file is not whole",
        "The file begins as a model does and ends too soon: it was cut off while it was written, copied or downloaded, "
        "and could not be loaded. `kappa inspect FILE` tells what is still readable of it.",
    ),
    "KF334": Code(
        "The columns are not those of the model",
        "The file of the model tells which columns it was fitted with, or how many: a table with others, or an array "
        "of another length, would fail at each request. "
        "Nothing was loaded to find this out; `kappa inspect FILE` lists them.",
    ),
    "KF335": Code(
        "An example lacks a column of the model",
        "An API that a model's own method answers refuses rows without the columns that the model was fitted with. "
        "`kappa inspect FILE` lists them.",
    ),
    "KF336": Code(
        "The model has no such output",
        "The file of the model names its outputs, and `outputs` of an API that it answers names another. "
        "`kappa inspect FILE` lists them.",
    ),
    "KF337": Code(
        "The model takes a fixed number of rows",
        "The file of the network fixes how many rows one call has, and an API that is batched calls it with as many as "
        "wait: no server would start. With `batch = false` each request is a call by itself; an export whose first "
        "dimension may vary can be batched.",
    ),
    "KF340": Code(
        "An import cannot be followed",
        "The name of what is imported is made while the code runs, so the source does not tell which modules a "
        "bundle needs. Name those that are yours in `modules` of `[bundle]`.",
    ),
    "KF341": Code(
        "A model can be loaded nowhere else",
        "The file of the model names a class or function of `__main__`, the script that saved it, or was written by "
        "`dill`, whose files `pickle` cannot read. Define what it names in a module, and save the model again.",
    ),
    "KF342": Code(
        "A package comes from a repository or a file",
        "The module was not installed from an index, so its name and version say nothing to one: what has them there "
        "may be a stranger's. Code that was installed from a folder, and needs no compiler, is packed as your own. "
        "Anything else is published, named as an archive with a URL, or named in `pip_packages` once an index has it.",
    ),
    "KF343": Code(
        "Nothing asks for a package that the code imports",
        "The module is installed here, and neither `[env]`, an artifact type, a model's file nor an adapter asks for "
        "the distribution that brought it. The bundle would not have it, and would fail where it is imported. Name it "
        "in `pip_packages`, or let `infer_pip_packages = true` name what the code imports.",
    ),
    "KF350": Code(
        "A model cannot be compiled",
        'With `compile = "onnx"`, the build converts the model to ONNX. The message names the step that has no '
        "conversion, and why; the how-to about compiled models has a table of what can be converted. A function of "
        "your own inside of a pipeline can not: compute what it computes before the model is asked.",
    ),
    "KF351": Code(
        "The compiled model answers otherwise",
        "The build asks the model and its conversion the same rows: those of the examples, of `samples`, and rows that "
        "it draws round the model's own thresholds and from its categories. Each label must be equal, and each other "
        "number within `rtol` and `atol`. The message shows rows for which that is not so. Rows that only numbers "
        "of another width tell apart are a reason for a larger tolerance; other labels are a reason not to compile.",
    ),
    "KF352": Code(
        "Nothing proves a compiled model",
        "A compiled model is packed only if it answers as before. That is compared on the rows of the service's "
        "examples, and on those of the file that `samples` names: CSV with a header line, JSON, JSON lines or Parquet, "
        'with the columns of the model. `samples = "none"` says that rows which the build draws are enough.',
        '[artifacts.model]\ntype = "sklearn"\npath = "model.joblib"\ncompile = "onnx"',
        '[artifacts.model]\ntype = "sklearn"\npath = "model.joblib"\n'
        'compile = { to = "onnx", samples = "samples/rows.csv" }',
    ),
    "KF353": Code(
        "A compiled model has no such attribute",
        "Compiled models have `predict`, `predict_proba` or `transform`, as the model had them, with `classes_`, "
        "`n_features_in_`, `feature_names_in_`, and `session`, which is ONNX Runtime's. Everything else stays behind "
        "with the training framework. Ask for one of these, or serve the model without `compile`.",
        '[artifacts.model]\ntype = "sklearn"\npath = "model.joblib"\ncompile = "onnx"\n\n'
        '[apis.score]\nartifact = "model"\nmethod = "decision_function"\ninput = "dataframe"',
        '[artifacts.model]\ntype = "sklearn"\npath = "model.joblib"\ncompile = "onnx"\n\n'
        '[apis.score]\nartifact = "model"\nmethod = "predict_proba"\ninput = "dataframe"',
    ),
    "KF354": Code(
        "A compiled model may answer less exactly",
        "`rtol` and `atol` say by how much a number of the compiled model may differ from the model's own: "
        "`atol + rtol * |number|`. By default that is 1e-5 and 1e-4. With more, whoever reads the answers should know "
        "it; `kappa info` shows the largest difference that there was.",
    ),
    "KF401": Code(
        "The class and the kappafile both set a key",
        "With `class`, the decorators are the declaration, and the kappafile holds only what they do not say: where "
        "the model files are, examples, packing. Keep the key in one of the two places.",
    ),
    "KF402": Code(
        "The class does not declare a service",
        "`class` names a subclass of `kappa.BentoService` with at least one method under `@kappa.api`. Where its "
        "decorators are not written out, `kappa build` imports it to read them, and that may fail.",
    ),
}
"""Every code."""
