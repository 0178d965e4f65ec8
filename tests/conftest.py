"""Fixtures shared by all tests."""

import gc

import torch
from hypothesis import settings

from tests.clip_worlds import clip_world
from tests.command_line import empty, pair
from tests.custom_worlds import meters_folder, tables_folder
from tests.diffusion_worlds import drawn, drawn_folder
from tests.documented_world import documented
from tests.installed import site
from tests.people_worlds import text_world
from tests.received import sent
from tests.recommender_worlds import tastes, tastes_folder
from tests.tiny_world import fresh, no_report, plain
from tests.worlds import retrain_scores, world

__all__ = [
    "clip_world",
    "documented",
    "drawn",
    "drawn_folder",
    "empty",
    "fresh",
    "meters_folder",
    "no_report",
    "pair",
    "plain",
    "retrain_scores",
    "sent",
    "site",
    "tables_folder",
    "tastes",
    "tastes_folder",
    "text_world",
    "world",
]

torch.set_num_threads(1)
# Examples are timed on machines that do other things as well: a slow one is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_collection_finish() -> None:
    """What stands in memory before the first test is no garbage, and need not be searched again and again for some."""
    gc.collect()
    gc.freeze()
