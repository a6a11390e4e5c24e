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
    from kappa.actions.copying import copy_bundle as copy_bundle
    from kappa.actions.dev_server import start_dev_server as start_dev_server
    from kappa.actions.examples import examples_of as examples_of
    from kappa.actions.examples import replay_examples as replay_examples
    from kappa.actions.examples import say_what_ran as say_what_ran
    from kappa.actions.explaining import explain_name as explain_name
    from kappa.actions.gamma_server import start_gamma_service as start_gamma_service
    from kappa.actions.gamma_tokens import create_gamma_token as create_gamma_token
    from kappa.actions.gamma_tokens import list_gamma_tokens as list_gamma_tokens
    from kappa.actions.gamma_tokens import revoke_gamma_token as revoke_gamma_token
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
    from kappa.actions.store import alias_history as alias_history
    from kappa.actions.store import aliases_of as aliases_of
    from kappa.actions.store import bundle_record as bundle_record
    from kappa.actions.store import bundles_to_delete as bundles_to_delete
    from kappa.actions.store import bundles_to_forget as bundles_to_forget
    from kappa.actions.store import delete_alias as delete_alias
    from kappa.actions.store import delete_bundles as delete_bundles
    from kappa.actions.store import difference_of as difference_of
    from kappa.actions.store import exact_tags as exact_tags
    from kappa.actions.store import forget_tags as forget_tags
    from kappa.actions.store import label_bundle as label_bundle
    from kappa.actions.store import list_bundles as list_bundles
    from kappa.actions.store import parse_label_changes as parse_label_changes
    from kappa.actions.store import plan_pruning as plan_pruning
    from kappa.actions.store import roll_back_alias as roll_back_alias
    from kappa.actions.store import set_alias as set_alias
    from kappa.actions.store import verify_bundles as verify_bundles
    from kappa.actions.stores import default_namespace as default_namespace
    from kappa.actions.stores import gamma_url as gamma_url
    from kappa.actions.stores import names_service as names_service
    from kappa.actions.stores import reference_of as reference_of
    from kappa.actions.targets import BundleTarget as BundleTarget
    from kappa.actions.targets import ProjectTarget as ProjectTarget
    from kappa.actions.targets import Target as Target
    from kappa.actions.targets import api_of as api_of
    from kappa.actions.targets import find_bundle as find_bundle
    from kappa.actions.targets import names_path as names_path
    from kappa.actions.targets import open_target as open_target
    from kappa.actions.targets import resolve_target as resolve_target
    from kappa.actions.targets import service_at as service_at
    from kappa.actions.targets import stored_tags as stored_tags
    from kappa.actions.targets import tags_in_store as tags_in_store
    from kappa.actions.transfer import Moved as Moved
    from kappa.actions.transfer import Push as Push
    from kappa.actions.transfer import collect_garbage as collect_garbage
    from kappa.actions.transfer import export_bundle as export_bundle
    from kappa.actions.transfer import import_bundle as import_bundle
    from kappa.actions.transfer import pull_bundle as pull_bundle
    from kappa.actions.transfer import push_all as push_all
    from kappa.actions.transfer import push_bundle as push_bundle
    from kappa.actions.transfer import retrieve_bundle as retrieve_bundle
    from kappa.gamma.retention import Judged as Judged
    from kappa.gamma.retention import Pruning as Pruning
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
    "Judged": "kappa.gamma.retention",
    "ModelFacts": "kappa.actions.starting",
    "Moved": "kappa.actions.transfer",
    "ProjectTarget": "kappa.actions.targets",
    "Pruning": "kappa.gamma.retention",
    "Push": "kappa.actions.transfer",
    "ReportForm": "kappa.actions.kappafiles",
    "Start": "kappa.actions.starting",
    "StoredBundle": "kappa.actions.store",
    "Target": "kappa.actions.targets",
    "alias_history": "kappa.actions.store",
    "aliases_of": "kappa.actions.store",
    "api_of": "kappa.actions.targets",
    "build_project": "kappa.actions.building",
    "bundle_record": "kappa.actions.store",
    "bundles_to_delete": "kappa.actions.store",
    "bundles_to_forget": "kappa.actions.store",
    "change_settings": "kappa.settings_file",
    "check_kappafiles": "kappa.actions.kappafiles",
    "check_project_lock": "kappa.actions.building",
    "check_vacancy": "kappa.actions.starting",
    "collect_garbage": "kappa.actions.transfer",
    "compose_file": "kappa.actions.images",
    "containerize": "kappa.actions.images",
    "copy_bundle": "kappa.actions.copying",
    "create_gamma_token": "kappa.actions.gamma_tokens",
    "default_namespace": "kappa.actions.stores",
    "delete_alias": "kappa.actions.store",
    "delete_bundles": "kappa.actions.store",
    "difference_of": "kappa.actions.store",
    "exact_tags": "kappa.actions.store",
    "examples_of": "kappa.actions.examples",
    "explain_name": "kappa.actions.explaining",
    "export_bundle": "kappa.actions.transfer",
    "find_bundle": "kappa.actions.targets",
    "first_answer": "kappa.actions.starting",
    "forget_tags": "kappa.actions.store",
    "gamma_url": "kappa.actions.stores",
    "github_workflow": "kappa.actions.images",
    "import_bundle": "kappa.actions.transfer",
    "inspect_model": "kappa.actions.inspecting",
    "label_bundle": "kappa.actions.store",
    "list_bundles": "kappa.actions.store",
    "list_gamma_tokens": "kappa.actions.gamma_tokens",
    "lock_project": "kappa.actions.building",
    "model_at_hand": "kappa.actions.starting",
    "model_facts": "kappa.actions.starting",
    "names_path": "kappa.actions.targets",
    "names_service": "kappa.actions.stores",
    "open_target": "kappa.actions.targets",
    "parse_label_changes": "kappa.actions.store",
    "past_builds": "kappa.actions.building",
    "plan_of": "kappa.actions.building",
    "plan_pruning": "kappa.actions.store",
    "plan_start": "kappa.actions.starting",
    "problem_trees": "kappa.actions.kappafiles",
    "project_to_build": "kappa.actions.building",
    "pull_bundle": "kappa.actions.transfer",
    "push_all": "kappa.actions.transfer",
    "push_bundle": "kappa.actions.transfer",
    "reference_of": "kappa.actions.stores",
    "reload_server": "kappa.actions.serving",
    "replay_examples": "kappa.actions.examples",
    "report": "kappa.actions.kappafiles",
    "reset_settings": "kappa.settings_file",
    "resolve_target": "kappa.actions.targets",
    "retrieve_bundle": "kappa.actions.transfer",
    "revoke_gamma_token": "kappa.actions.gamma_tokens",
    "roll_back_alias": "kappa.actions.store",
    "save_service": "kappa.actions.building",
    "say_what_ran": "kappa.actions.examples",
    "serve_bundle": "kappa.actions.serving",
    "serve_project": "kappa.actions.serving",
    "server_settings": "kappa.actions.serving",
    "service_at": "kappa.actions.targets",
    "set_alias": "kappa.actions.store",
    "setting_in_effect": "kappa.settings_file",
    "setting_keys": "kappa.settings_file",
    "settings_in_effect": "kappa.settings_file",
    "settings_in_file": "kappa.settings_file",
    "start_dev_server": "kappa.actions.dev_server",
    "start_gamma_service": "kappa.actions.gamma_server",
    "stored_tags": "kappa.actions.targets",
    "tags_in_store": "kappa.actions.targets",
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
    "Judged",
    "ModelFacts",
    "Moved",
    "ProjectTarget",
    "Pruning",
    "Push",
    "ReportForm",
    "Start",
    "StoredBundle",
    "Target",
    "alias_history",
    "aliases_of",
    "api_of",
    "build_project",
    "bundle_record",
    "bundles_to_delete",
    "bundles_to_forget",
    "change_settings",
    "check_kappafiles",
    "check_project_lock",
    "check_vacancy",
    "collect_garbage",
    "compose_file",
    "containerize",
    "copy_bundle",
    "create_gamma_token",
    "default_namespace",
    "delete_alias",
    "delete_bundles",
    "difference_of",
    "exact_tags",
    "examples_of",
    "explain_name",
    "export_bundle",
    "find_bundle",
    "first_answer",
    "forget_tags",
    "gamma_url",
    "github_workflow",
    "import_bundle",
    "inspect_model",
    "label_bundle",
    "list_bundles",
    "list_gamma_tokens",
    "lock_project",
    "model_at_hand",
    "model_facts",
    "names_path",
    "names_service",
    "open_target",
    "parse_label_changes",
    "past_builds",
    "plan_of",
    "plan_pruning",
    "plan_start",
    "problem_trees",
    "project_to_build",
    "pull_bundle",
    "push_all",
    "push_bundle",
    "reference_of",
    "reload_server",
    "replay_examples",
    "report",
    "reset_settings",
    "resolve_target",
    "retrieve_bundle",
    "revoke_gamma_token",
    "roll_back_alias",
    "save_service",
    "say_what_ran",
    "serve_bundle",
    "serve_project",
    "server_settings",
    "service_at",
    "set_alias",
    "setting_in_effect",
    "setting_keys",
    "settings_in_effect",
    "settings_in_file",
    "start_dev_server",
    "start_gamma_service",
    "stored_tags",
    "tags_in_store",
    "tune_bundle",
    "tuning_charts",
    "verify_bundles",
    "without_example",
    "write_start",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
