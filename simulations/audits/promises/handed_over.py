"""What an auditor was handed: the run folder, and of each hospital its state folder or parts of it.

A part is known by its form, not by its name: a folder with `log.jsonl` is a log, one with `head.json` a search index, a
`.yaml` file a hospital's `site.yaml`, any other file a ledger. A state folder may hold them all, `site.yaml` beside or
in it. Whose a part is it says itself, once it was checked; until then it is called by its path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from client.search.generation import HANDLE_KEY_FILE, HEAD_FILE, SEARCH_FOLDER
from client.state_folder import KEY_FILE, LEDGER_FILE, LOG_FOLDER
from common.errors import ConfigError
from common.evidence.log_files import LOG_FILE
from common.ledger.head_file import head_file_of

SITE_FILE = "site.yaml"
_YAML = {".yaml", ".yml"}


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """Files and folders by kind, as they were named.

    Attributes:
        run: The run folder.
        members: The server's member list; None where it was not handed over.
        ledgers: Hospitals' ledgers.
        logs: Folders of hospitals' audit logs.
        indexes: Hospitals' search indexes.
        policies: Hospitals' `site.yaml`.
        private_keys: Private keys that lie among them, and should have stayed where they were made.
    """

    run: Path
    members: Path | None = None
    ledgers: tuple[Path, ...] = ()
    logs: tuple[Path, ...] = ()
    indexes: tuple[Path, ...] = ()
    policies: tuple[Path, ...] = ()
    private_keys: tuple[Path, ...] = ()


@dataclass
class _Found:
    ledgers: list[Path] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    indexes: list[Path] = field(default_factory=list)
    policies: list[Path] = field(default_factory=list)
    private_keys: list[Path] = field(default_factory=list)

    def take(self, path: Path) -> None:
        """Take a part, or all parts of a state folder.

        Raises:
            ConfigError: There is no such path, or no part is in it.
        """
        if not path.exists():
            raise ConfigError(f"--site {path}: no such file or folder; name a hospital's state folder, or a part of it")
        before = self._num_parts
        if path.is_file():
            (self.policies if path.suffix in _YAML else self.ledgers).append(path)
        elif (path / LOG_FILE).exists():
            self.logs.append(path)
        elif (path / HEAD_FILE).exists():
            self.indexes.append(path)
        else:
            self._take_state(path)
        if self._num_parts == before:
            raise ConfigError(
                f"--site {path}: holds no ledger, log, search index or {SITE_FILE}; name a hospital's state folder, or "
                "a part of it"
            )

    def _take_state(self, folder: Path) -> None:
        state = folder / "state" if (folder / SITE_FILE).exists() and (folder / "state").is_dir() else folder
        self.ledgers += _there(state / LEDGER_FILE)
        self.logs += [state / LOG_FOLDER] if (state / LOG_FOLDER / LOG_FILE).exists() else []
        self.indexes += [state / SEARCH_FOLDER] if (state / SEARCH_FOLDER / HEAD_FILE).exists() else []
        beside = [*_there(state / SITE_FILE), *_there(state.parent / SITE_FILE)]
        self.policies += beside[:1]
        self.private_keys += [*_there(state / KEY_FILE), *_there(state / SEARCH_FOLDER / HANDLE_KEY_FILE)]

    @property
    def _num_parts(self) -> int:
        return sum(map(len, (self.ledgers, self.logs, self.indexes, self.policies)))


def handed_over(run: Path, *, sites: Iterable[Path], members: Path | None) -> HandedOver:
    """Sort what was handed over.

    Args:
        run: The run folder.
        sites: State folders, or parts of them.
        members: The server's member list.

    Raises:
        ConfigError: A path is not there, or is nothing that could be evidence.
    """
    if not run.is_dir():
        raise ConfigError(f"{run}: no such folder; name the folder of a run")
    if members is not None and not members.is_file():
        raise ConfigError(f"--members {members}: no such file; name the server's members.json")
    found = _Found()
    for path in sites:
        found.take(path)
    return HandedOver(
        run=run,
        members=members,
        ledgers=tuple(found.ledgers),
        logs=tuple(found.logs),
        indexes=tuple(found.indexes),
        policies=tuple(found.policies),
        private_keys=tuple(found.private_keys),
    )


def files_of_ledger(path: Path) -> Iterator[Path]:
    """A ledger's file, and those beside it that belong to it."""
    yield path
    yield from _there(path.with_name(f"{path.name}-wal"))
    yield from _there(head_file_of(path))


def _there(path: Path) -> list[Path]:
    return [path] if path.exists() else []
