"""A bench with one honest source beside others, whose plugins are guarded as those of a run are."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.guards import guarded
from reconciler.model.spec import ComponentSpec, PluginConfig, SourceSpec
from reconciler.storage.state import State
from reconciler.workspace import Plugins
from tests.fakes import NOW, FakeSource, make_component
from tests.unit.workbench import COMPONENT, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.model.offer import SourceReport
    from reconciler.model.spec import GroupSpec
    from reconciler.workspace import Means

OTHER = "engine"
"""The component that the other source serves."""


class _Plugins(Plugins):
    def __init__(self, siege: Siege, means: Means) -> None:
        super().__init__(siege.spec, means)
        self._siege = siege

    def source(self, source: SourceSpec) -> Any:
        return guarded("source", source.name, self._siege.sources[source.name])

    def transport(self, group: str) -> Any:
        return self._siege.transport

    def codec(self, name: str) -> Any:
        return self._siege.codecs[name] if name in self._siege.codecs else super().codec(name)

    def check(self, config: PluginConfig) -> Any:
        return self._siege.checks[config.name] if config.name in self._siege.checks else super().check(config)

    def inventory(self, group: GroupSpec) -> Any:
        return self._siege.inventories.get(group.name) or super().inventory(group)

    @property
    def executor(self) -> Any:
        return self._siege.executor or super().executor


class Siege(Bench):
    """Three clients; the honest source `drop` serves `rules`, and `other` serves `engine`.

    What is in `codecs`, `checks` and `inventories`, or is the `executor`, stands in place of the plugin of that name.
    """

    def __init__(self, folder: Path, state: State) -> None:
        self.codecs: dict[str, Any] = {}
        self.checks: dict[str, Any] = {}
        self.inventories: dict[str, Any] = {}
        self.executor: Any = None
        self.other = FakeSource("other")
        self.sources: dict[str, Any] = {}
        super().__init__(folder, state, url=f"sqlite:///{folder}/state.db")
        self.sources = {"drop": self.source, "other": self.other}
        directory = PluginConfig("source", "directory", {})
        self.spec = replace(
            self.spec,
            sources=(
                SourceSpec("drop", directory, components=frozenset({COMPONENT})),
                SourceSpec("other", directory, components=frozenset({OTHER})),
            ),
            components={**self.spec.components, OTHER: ComponentSpec(make_component(OTHER, "engine"))},
        )
        self.release("2")

    def surround(self, hostile: dict[str, Any]) -> None:
        """Have sources instead of `other`, each of which serves the component of its own name."""
        (honest, _other) = self.spec.sources
        self.sources = {"drop": self.source, **{name: guarded("source", name, one) for name, one in hostile.items()}}
        self.spec = replace(
            self.spec,
            sources=(*(replace(honest, name=name, components=frozenset({name})) for name in hostile), honest),
            components={
                COMPONENT: self.spec.components[COMPONENT],
                **{name: ComponentSpec(make_component(name, "engine")) for name in hostile},
            },
        )

    def plugins(self, means: Means) -> Plugins:
        """Give the plugins of a command; at first there is the honest source only."""
        self.sources = self.sources or {"drop": self.source}
        return _Plugins(self, means)

    def report_of(self, name: str) -> SourceReport:
        """Give what a source answered when it was asked last."""
        return next(report for report, _last in self.state.source_reports() if report.source == name)

    @property
    def spared(self) -> bool:
        """Say whether all clients have what the honest source offers."""
        return self.running("2") == set(self.machines)


@contextmanager
def siege(folder: Path) -> Iterator[Siege]:
    """Give a siege; its state is closed at the end."""
    folder.mkdir(exist_ok=True)
    made: list[Siege] = []
    state = State.open(f"sqlite:///{folder}/state.db", clock=lambda: made[0].now if made else NOW)
    try:
        made.append(Siege(folder, state))
        yield made[0]
    finally:
        state.close()
