"""What is to be reached: the ratios to the C daemon, and the bounds on memory and start.

In: figures.  Out: rows of a table, each with its target and whether it is met.
Rule: a ratio is the median of the ratios of the rounds, so that a round in
which the machine was busy counts once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from benchmarks.measure import Figure


#: Ratio to C of CPU time per request: (native, in the VM); None: no target.
RATIOS: dict[tuple[str, int], tuple[float | None, float | None]] = {
    ("auto key", 0): (1.2, 1.6),
    ("auto sweep", 0): (0.8, 1.2),
    ("enumerate", 50): (0.5, 0.6),
    ("enumerate", 500): (0.1, 0.12),
    ("enumerate", 2000): (0.03, 0.03),
    ("enumerate", 10000): (0.01, None),
    ("SET new", 50): (0.9, 0.9),
    ("SET new", 2000): (0.05, 0.05),
    ("modify", 50): (0.9, 0.9),
    ("modify", 2000): (0.05, 0.05),
    ("DELETE", 2000): (0.2, 0.2),
}
#: These cost the same from 50 to 10,000 records, within this factor.
FLAT = ("enumerate", "GET", "modify")
FLAT_FACTOR = 1.5
#: KiB above the bare interpreter, above idle after requests, above idle with records.
IDLE_KIB, REQUESTS_KIB, RECORDS_KIB = 3072, 1024, 4096
START_FACTOR = 3.0

_UNITS = {"cpu": "µs CPU", "rss": "KiB resident", "private": "KiB private", "start": "ms"}


@dataclass(frozen=True)
class Row:
    """One line: what C does, what ours does, how they compare, and what was wanted."""

    place: str
    workload: str
    daemon: str
    unit: str
    base: float | None
    ours: float
    compared: str
    target: str
    met: bool | None


class Table:
    """Figures by what they are of, in the order of the rounds."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        self._values: dict[tuple[str, str, str, int, str], list[float]] = {}
        for one in figures:
            key = (one.place, one.daemon, one.workload, one.records, one.measure)
            self._values.setdefault(key, []).append(one.value)

    def values(
        self, place: str, daemon: str, workload: str, records: int, measure: str
    ) -> list[float]:
        return self._values.get((place, daemon, workload, records, measure), [])

    def series(self, place: str, daemon: str, workload: str) -> dict[int, float]:
        """Median CPU time per request by number of records."""
        return {
            key[3]: median(values)
            for key, values in self._values.items()
            if key[:3] == (place, daemon, workload) and key[4] == "cpu"
        }

    def daemons(self, place: str) -> list[str]:
        """Ours, in the order of their appearance."""
        found = dict.fromkeys(key[1] for key in self._values if key[0] == place)
        return [name for name in found if name not in ("C", "python")]

    def workloads(self, place: str) -> list[tuple[str, int]]:
        return list(
            dict.fromkeys(
                key[2:4] for key in self._values if key[0] == place and key[4] == "cpu"
            )
        )

    def rows(self) -> list[Row]:
        found = []
        for place in ("native", "vm"):
            for workload, records in self.workloads(place):
                for daemon in self.daemons(place):
                    found += self._cost(place, daemon, workload, records)
            for daemon in self.daemons(place):
                found += self._flatness(place, daemon)
        return [*found, *self._start(), *self._memory(), *self._idle()]

    def _cost(self, place: str, daemon: str, workload: str, records: int) -> list[Row]:
        ours = self.values(place, daemon, workload, records, "cpu")
        theirs = self.values(place, "C", workload, records, "cpu")
        if not ours:
            return []
        name = f"{workload}, {records:,} records" if records else workload
        if not theirs:
            return [Row(place, name, daemon, _UNITS["cpu"], None, median(ours), "", "", None)]
        ratio = median(one / other for one, other in zip(ours, theirs, strict=True))
        targets = RATIOS.get((workload, records), (None, None))
        # Syncing has no counterpart in C, and so no target.
        target = None if daemon == "ours, synced" else targets[place == "vm"]
        return [
            Row(
                place,
                name,
                daemon,
                _UNITS["cpu"],
                median(theirs),
                median(ours),
                f"{ratio:.3g} x C",
                "" if target is None else f"<= {target} x",
                None if target is None else ratio <= target,
            )
        ]

    def _flatness(self, place: str, daemon: str) -> list[Row]:
        found = []
        for workload in FLAT:
            series = self.series(place, daemon, workload)
            if len(series) > 1 and daemon != "ours, synced":
                least, most = min(series), max(series)
                factor = max(series.values()) / min(series.values())
                found.append(
                    Row(
                        place,
                        f"{workload}, from {least:,} to {most:,} records",
                        daemon,
                        _UNITS["cpu"],
                        None,
                        max(series.values()),
                        f"{factor:.3g} x its least",
                        f"<= {FLAT_FACTOR} x",
                        factor <= FLAT_FACTOR,
                    )
                )
        return found

    def _start(self) -> list[Row]:
        times = {
            name: self.values("native", name, "start", 0, "start")
            for name in ("python", "C", "ours")
        }
        if not all(times.values()):
            return []
        ratio = median(
            one / other for one, other in zip(times["ours"], times["python"], strict=True)
        )
        return [
            Row(
                "native",
                f"exec to registration (bare python3: {median(times['python']):.1f} ms)",
                "ours",
                _UNITS["start"],
                median(times["C"]),
                median(times["ours"]),
                f"{ratio:.3g} x python3",
                f"<= {START_FACTOR:g} x",
                ratio <= START_FACTOR,
            )
        ]

    def _memory(self) -> list[Row]:
        found = []
        for measure in ("rss", "private"):

            def size(daemon: str, when: str, measure: str = measure) -> float | None:
                values = self.values("native", daemon, when, 0, measure)
                return median(values) if values else None

            bare = size("python", "memory at idle")
            idle = size("ours", "memory at idle")
            for when, base, what, limit in (
                ("memory at idle", bare, "python3", IDLE_KIB),
                ("memory after 10,000 requests", idle, "idle", REQUESTS_KIB),
                ("memory with 10,000 records", idle, "idle", RECORDS_KIB),
            ):
                ours, theirs = size("ours", when), size("C", when)
                if ours is not None and base is not None:
                    more = ours - base
                    compared, target = f"{what} {more:+.0f} KiB", f"<= +{limit} KiB"
                    unit = _UNITS[measure]
                    found.append(
                        Row(
                            "native",
                            when,
                            "ours",
                            unit,
                            theirs,
                            ours,
                            compared,
                            target,
                            more <= limit,
                        )
                    )
        return found

    def _idle(self) -> list[Row]:
        ours = self.values("native", "ours", "idle", 0, "switches")
        theirs = self.values("native", "C", "idle", 0, "switches")
        if not ours:
            return []
        count = max(ours)
        unit, name = "switches", "60 s of idling"
        return [
            Row("native", name, "ours", unit, max(theirs), count, "", "0", count == 0),
        ]
