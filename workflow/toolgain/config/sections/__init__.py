"""The typed configuration: the one source of defaults, the JSON schema and config/README.md.

A module for each section; `whole` puts them together, `reading` reads a file. Each top-level
section belongs to one stage, which reads only its frozen copy (`toolgain.config.freeze`). Every
field carries its meaning; unknown keys are an error that names the nearest valid one.
"""

from toolgain.config.sections.base import Section
from toolgain.config.sections.cluster import ClusterSection, NemoRlSite
from toolgain.config.sections.comparison import ComparisonSection
from toolgain.config.sections.durations import minutes
from toolgain.config.sections.environments import EnvironmentsSection
from toolgain.config.sections.evaluation import EvaluationSection, Retry, Subset
from toolgain.config.sections.gym import GymSection
from toolgain.config.sections.model import ModelSection
from toolgain.config.sections.nemo_rl import NemoRl
from toolgain.config.sections.reading import SectionType, load_config, parse_config, parse_section
from toolgain.config.sections.report import ReportSection
from toolgain.config.sections.serving import SERVERS, Serve
from toolgain.config.sections.tasks import ROOM_FOR_TOOLS, ROOM_FOR_WORDY_TOOLS, TasksSection
from toolgain.config.sections.training import TRAINERS, TrainingSection, deciding
from toolgain.config.sections.trl import Trl
from toolgain.config.sections.whole import Config

__all__ = [
    "ROOM_FOR_TOOLS",
    "ROOM_FOR_WORDY_TOOLS",
    "SERVERS",
    "TRAINERS",
    "ClusterSection",
    "ComparisonSection",
    "Config",
    "EnvironmentsSection",
    "EvaluationSection",
    "GymSection",
    "ModelSection",
    "NemoRl",
    "NemoRlSite",
    "ReportSection",
    "Retry",
    "Section",
    "SectionType",
    "Serve",
    "Subset",
    "TasksSection",
    "TrainingSection",
    "Trl",
    "deciding",
    "load_config",
    "minutes",
    "parse_config",
    "parse_section",
]
