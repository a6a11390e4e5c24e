"""Makes a distribution of this bundle: `pip install .`, or `python setup.py sdist upload`. Written by Kappa 0.1.0.

Everything is built in a temporary folder, so installing writes nothing here; `sdist` and `bdist_wheel` write `dist`.
"""

import atexit
import glob
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

NAME = 'Scorer'
ROOT = Path(__file__).resolve().parent
FILES = {
    "PKG-INFO",  # of an sdist
    '.dockerignore',
    'Dockerfile',
    'MANIFEST.in',
    'README.md',
    'Scorer/__init__.py',
    'Scorer/_kappa/kappa_ml-0.1.0-py3-none-any.whl',
    'Scorer/artifacts/weights/content.json',
    'Scorer/kappa.yml',
    'Scorer/scoring.py',
    'docker-entrypoint.sh',
    'docs.json',
    'kappa-init.sh',
    'kappa.yml',
    'python_version',
    'requirements.txt',
    'setup.py',
}
OF_TOOLS = {".DS_Store", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__"}


def check_files():
    """Stop where there is more than was built, before any of it is imported or installed."""
    odd = []
    for folder, folders, files in os.walk(ROOT):
        for name in [*folders, *files]:
            path = Path(folder, name).relative_to(ROOT)
            mode = (ROOT / path).lstat().st_mode
            at_top = len(path.parts) == 1 and (name in ("build", "dist") or name.endswith(".egg-info"))
            if name in OF_TOOLS or at_top:
                is_odd = not (stat.S_ISDIR(mode) or stat.S_ISREG(mode))
                folders[:] = [other for other in folders if other != name]
            else:
                is_odd = not (stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and path.as_posix() in FILES))
            if is_odd:
                odd.append(ascii(path.as_posix()))
    if odd:
        sys.exit(f"The bundle is not as it was built: {min(odd)} was added, or is a link. Nothing was installed.")


check_files()

from setuptools import Command, setup  # noqa: E402 - what is imported from here on may be looked for in this folder
from setuptools.command.sdist import sdist  # noqa: E402

SCRATCH = tempfile.mkdtemp(prefix="kappa-setup-")
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)


class SourceDistribution(sdist):
    """Leaves out what setuptools keeps in the temporary folder, and the settings that it adds."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, [file for file in files if not os.path.isabs(file)])
        Path(base_dir, "setup.cfg").unlink()


class Upload(Command):
    """Upload with twine what `sdist` and `bdist_wheel` made in the same call."""

    description = "upload what was just built, with twine"
    user_options = [("repository=", "r", "the section of .pypirc that says where to")]

    def initialize_options(self):
        self.repository = None

    def finalize_options(self):
        pass

    def run(self):
        built = [file for _, _, file in getattr(self.distribution, "dist_files", ())]
        if not built:
            sys.exit("There is nothing to upload yet: run `python setup.py sdist upload`.")
        if importlib.util.find_spec("twine") is None:
            sys.exit("Uploading needs twine, which is not installed here: run `pip install twine`.")
        chosen = ["--repository", self.repository] if self.repository else []
        sys.exit(subprocess.call([sys.executable, "-m", "twine", "upload", *chosen, *built]))


def package_files():
    """Return the files of the package below its folder, as patterns that match exactly themselves."""
    return [glob.escape(file.partition("/")[2]) for file in sorted(FILES) if file.startswith(f"{NAME}/")]


setup(
    name=NAME,
    version='1.2.20231114221320.4394456',
    description='Weighs columns.',
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires='>=3.10',
    packages=[NAME],
    package_data={NAME: package_files()},
    include_package_data=False,
    zip_safe=False,
    install_requires=[
        'click>=8.1',
        'falcon>=4.2',
        'gunicorn<28,>=27; sys_platform != "win32"',
        'h11<1,>=0.16; sys_platform == "win32"',
        'orjson>=3.10',
        'pandas==3.1.1',
        'prometheus-client>=0.20',
        'pydantic>=2.9',
        'ruamel-yaml>=0.18',
        'uvicorn>=0.30; sys_platform == "win32"',
        'uvloop>=0.20; sys_platform != "win32"',
    ],
    extras_require={
        "locked": [
            'falcon==4.4.0',
        ],
    },
    entry_points={"console_scripts": [f"{NAME}={NAME}:cli"]},
    cmdclass={"sdist": SourceDistribution, "upload": Upload},
    options={"build": {"build_base": os.path.join(SCRATCH, "build")}, "egg_info": {"egg_base": SCRATCH}},
)
