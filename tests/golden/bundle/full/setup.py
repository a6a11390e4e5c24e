"""Makes a distribution of this bundle: `pip install .`, or `python setup.py sdist upload`. Written by Kappa 0.1.0.

Everything is built in a temporary folder, so installing writes nothing here; `sdist` and `bdist_wheel` write `dist`.
"""

import atexit
import glob
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.sdist import sdist

NAME = 'ChurnScorer'
ROOT = Path(__file__).resolve().parent
SCRATCH = tempfile.mkdtemp(prefix="kappa-setup-")
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)


class SourceDistribution(sdist):
    """Leaves out what setuptools keeps in the temporary folder."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, [file for file in files if not os.path.isabs(file)])


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
    """Return every file of the package below its folder, as patterns that match exactly themselves."""
    package = ROOT / NAME
    files = (path.relative_to(package) for path in sorted(package.rglob("*")) if path.is_file())
    return [glob.escape(file.as_posix()) for file in files if "__pycache__" not in file.parts]


setup(
    name=NAME,
    version='20261122101222.10095957',
    description='Scores "customers" \\ it\'s',
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires='>=3.10',
    packages=[NAME],
    package_data={NAME: package_files()},
    include_package_data=False,
    zip_safe=False,
    install_requires=[
        'falcon>=4.2',
        'uvloop>=0.20; sys_platform != "win32"',
    ],
    extras_require={
        "locked": [
            'falcon==4.4.0',
            'uvloop==0.23.0 ; sys_platform != "win32"',
        ],
    },
    entry_points={"console_scripts": [f"{NAME}={NAME}:cli"]},
    cmdclass={"sdist": SourceDistribution, "upload": Upload},
    options={"build": {"build_base": os.path.join(SCRATCH, "build")}, "egg_info": {"egg_base": SCRATCH}},
)
