"""Configuration files as YAML 1.2, the version that DVC reads and writes.

YAML 1.1 reads `5e-05`, which `dvc exp run -S rate=5e-5` writes, as a string, and `yes`, `no` and
`on` as booleans. A key that appears twice is an error: the first value would be lost silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from edge_glass.encoders.components import ConfigError


class _Constructor(SafeConstructor):
    """Builds what JSON can hold: a date is a string, and sets and binary data are refused."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
for _tag in ("binary", "omap", "pairs", "set"):
    _Constructor.add_constructor(f"tag:yaml.org,2002:{_tag}", SafeConstructor.construct_undefined)


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML file that holds a table."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; run the command in the project's folder"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not text in UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_yaml(text, where=str(path))


def parse_yaml(text: str, *, where: str) -> dict[str, Any]:
    """Parses YAML that holds a table; see `read_yaml`."""
    # the pure Python parser: libyaml knows YAML 1.1 only
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        found = yaml.load(text)
    except DuplicateKeyError as error:
        mark, problem = error.problem_mark, str(error.problem).partition(" with value")[0]
        place = f"{where}, line {mark.line + 1}" if mark else where
        raise ConfigError(f"{place}: {problem}; keep one of the two") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{where}, line {mark.line + 1}" if mark else where
        raise ConfigError(f"{place}: not valid YAML: {error.problem}") from None
    except ReaderError as error:
        raise ConfigError(
            f"{where}: holds the character {error.character!r} at position {error.position}, which "
            "YAML does not allow; save the file as text in UTF-8"
        ) from None
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply; expected a few levels of tables") from None
    except (YAMLError, ValueError, ArithmeticError) as error:  # a number of thousands of digits
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    if found is None:
        raise ConfigError(f"{where}: the file is empty; expected a table of options")
    if not isinstance(found, Mapping):
        raise ConfigError(f"{where}: expected a table, found {type(found).__name__}")
    return dict(found)
