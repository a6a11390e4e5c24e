"""The operations of Kappa, each a plain function that joins the sides: building, storing, serving, making images,
testing.

Commands, notebooks and tests call these as ``actions.build_project(…)``; nothing here prints or reads arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.actions.building import Built as Built
    from kappa.actions.building import build_project as build_project
    from kappa.actions.building import check_project_lock as check_project_lock
    from kappa.actions.building import lock_project as lock_project
    from kappa.actions.building import past_builds as past_builds
    from kappa.actions.building import plan_of as plan_of
    from kappa.actions.building import project_to_build as project_to_build
    from kappa.actions.building import save_service as save_service
    from kappa.actions.dev_server import start_dev_server as start_dev_server
    from kappa.actions.examples import examples_of as examples_of
    from kappa.actions.examples import replay_examples as replay_examples
    from kappa.actions.examples import say_what_ran as say_what_ran
    from kappa.actions.explaining import explain_name as explain_name
    from kappa.actions.images import Containerized as Containerized
    from kappa.actions.images import compose_file as compose_file
    from kappa.actions.images import containerize as containerize
    from kappa.actions.images import github_workflow as github_workflow
    from kappa.actions.inspecting import InspectedModel as InspectedModel
    from kappa.actions.inspecting import inspect_model as inspect_model
    from kappa.actions.kappafiles import ReportForm as ReportForm
    from kappa.actions.kappafiles import check_kappafiles as check_kappafiles
    from kappa.actions.kappafiles import problem_trees as problem_trees
    from kappa.actions.kappafiles import report as report
    from kappa.actions.serving import reload_server as reload_server
    from kappa.actions.serving import serve_bundle as serve_bundle
    from kappa.actions.serving import serve_project as serve_project
    from kappa.actions.serving import server_settings as server_settings
    from kappa.actions.serving import tune_bundle as tune_bundle
    from kappa.actions.serving import tuning_charts as tuning_charts
    from kappa.actions.starting import ModelFacts as ModelFacts
    from kappa.actions.starting import Start as Start
    from kappa.actions.starting import check_vacancy as check_vacancy
    from kappa.actions.starting import first_answer as first_answer
    from kappa.actions.starting import model_at_hand as model_at_hand
    from kappa.actions.starting import model_facts as model_facts
    from kappa.actions.starting import plan_start as plan_start
    from kappa.actions.starting import without_example as without_example
    from kappa.actions.starting import write_start as write_start
    from kappa.actions.store import StoredBundle as StoredBundle
    from kappa.actions.store import bundle_record as bundle_record
    from kappa.actions.store import bundles_to_delete as bundles_to_delete
    from kappa.actions.store import delete_bundles as delete_bundles
    from kappa.actions.store import list_bundles as list_bundles
    from kappa.actions.store import verify_bundles as verify_bundles
    from kappa.actions.targets import BundleTarget as BundleTarget
    from kappa.actions.targets import ProjectTarget as ProjectTarget
    from kappa.actions.targets import Target as Target
    from kappa.actions.targets import api_of as api_of
    from kappa.actions.targets import find_bundle as find_bundle
    from kappa.actions.targets import open_target as open_target
    from kappa.actions.targets import resolve_target as resolve_target
    from kappa.actions.targets import service_at as service_at
    from kappa.actions.targets import stored_tags as stored_tags
    from kappa.settings_file import change_settings as change_settings
    from kappa.settings_file import reset_settings as reset_settings
    from kappa.settings_file import setting_in_effect as setting_in_effect
    from kappa.settings_file import setting_keys as setting_keys
    from kappa.settings_file import settings_in_effect as settings_in_effect
    from kappa.settings_file import settings_in_file as settings_in_file

_HOMES = {
    "Built": "kappa.actions.building",
    "BundleTarget": "kappa.actions.targets",
    "Containerized": "kappa.actions.images",
    "InspectedModel": "kappa.actions.inspecting",
    "ModelFacts": "kappa.actions.starting",
    "ProjectTarget": "kappa.actions.targets",
    "ReportForm": "kappa.actions.kappafiles",
    "Start": "kappa.actions.starting",
    "StoredBundle": "kappa.actions.store",
    "Target": "kappa.actions.targets",
    "api_of": "kappa.actions.targets",
    "build_project": "kappa.actions.building",
    "bundle_record": "kappa.actions.store",
    "bundles_to_delete": "kappa.actions.store",
    "change_settings": "kappa.settings_file",
    "check_kappafiles": "kappa.actions.kappafiles",
    "check_project_lock": "kappa.actions.building",
    "check_vacancy": "kappa.actions.starting",
    "compose_file": "kappa.actions.images",
    "containerize": "kappa.actions.images",
    "delete_bundles": "kappa.actions.store",
    "examples_of": "kappa.actions.examples",
    "explain_name": "kappa.actions.explaining",
    "find_bundle": "kappa.actions.targets",
    "first_answer": "kappa.actions.starting",
    "github_workflow": "kappa.actions.images",
    "inspect_model": "kappa.actions.inspecting",
    "list_bundles": "kappa.actions.store",
    "lock_project": "kappa.actions.building",
    "model_at_hand": "kappa.actions.starting",
    "model_facts": "kappa.actions.starting",
    "open_target": "kappa.actions.targets",
    "past_builds": "kappa.actions.building",
    "plan_of": "kappa.actions.building",
    "plan_start": "kappa.actions.starting",
    "problem_trees": "kappa.actions.kappafiles",
    "project_to_build": "kappa.actions.building",
    "reload_server": "kappa.actions.serving",
    "replay_examples": "kappa.actions.examples",
    "report": "kappa.actions.kappafiles",
    "reset_settings": "kappa.settings_file",
    "resolve_target": "kappa.actions.targets",
    "save_service": "kappa.actions.building",
    "say_what_ran": "kappa.actions.examples",
    "serve_bundle": "kappa.actions.serving",
    "serve_project": "kappa.actions.serving",
    "server_settings": "kappa.actions.serving",
    "service_at": "kappa.actions.targets",
    "setting_in_effect": "kappa.settings_file",
    "setting_keys": "kappa.settings_file",
    "settings_in_effect": "kappa.settings_file",
    "settings_in_file": "kappa.settings_file",
    "start_dev_server": "kappa.actions.dev_server",
    "stored_tags": "kappa.actions.targets",
    "tune_bundle": "kappa.actions.serving",
    "tuning_charts": "kappa.actions.serving",
    "verify_bundles": "kappa.actions.store",
    "without_example": "kappa.actions.starting",
    "write_start": "kappa.actions.starting",
}

__all__ = [
    "Built",
    "BundleTarget",
    "Containerized",
    "InspectedModel",
    "ModelFacts",
    "ProjectTarget",
    "ReportForm",
    "Start",
    "StoredBundle",
    "Target",
    "api_of",
    "build_project",
    "bundle_record",
    "bundles_to_delete",
    "change_settings",
    "check_kappafiles",
    "check_project_lock",
    "check_vacancy",
    "compose_file",
    "containerize",
    "delete_bundles",
    "examples_of",
    "explain_name",
    "find_bundle",
    "first_answer",
    "github_workflow",
    "inspect_model",
    "list_bundles",
    "lock_project",
    "model_at_hand",
    "model_facts",
    "open_target",
    "past_builds",
    "plan_of",
    "plan_start",
    "problem_trees",
    "project_to_build",
    "reload_server",
    "replay_examples",
    "report",
    "reset_settings",
    "resolve_target",
    "save_service",
    "say_what_ran",
    "serve_bundle",
    "serve_project",
    "server_settings",
    "service_at",
    "setting_in_effect",
    "setting_keys",
    "settings_in_effect",
    "settings_in_file",
    "start_dev_server",
    "stored_tags",
    "tune_bundle",
    "tuning_charts",
    "verify_bundles",
    "without_example",
    "write_start",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
