"""Settings: what may be set, where it is read from, and which source counts."""

from llterm.config.config_loader import load_config, project_file
from llterm.config.schema import Config, ModelConfig, Ui
from llterm.config.setting import Origin, Setting

__all__ = ["Config", "ModelConfig", "Origin", "Setting", "Ui", "load_config", "project_file"]
