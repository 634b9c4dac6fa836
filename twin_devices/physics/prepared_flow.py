"""Power flows of one network, one at a time: the data sets of power-grid-model are prepared once and filled anew.

Its Python interface builds them for each calculation, which takes several times as long as to solve a building's
network. So the calls go to the layer below. That is no public interface: where a release has another one, the import
fails, and `PowerFlow` takes the long way, to the same numbers.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from power_grid_model import (
    CalculationMethod,
    CalculationType,
    ComponentType,
    DatasetType,
    PowerGridModel,
    initialize_array,
)
from power_grid_model._core.error_handling import assert_no_error
from power_grid_model._core.options import Options
from power_grid_model._core.power_grid_core import ConstDatasetPtr, get_power_grid_core
from power_grid_model._core.power_grid_dataset import CConstDataset, CMutableDataset

Array = NDArray[np.float64]

_NO_BATCH = ConstDatasetPtr()


class PreparedFlow:
    """A model, the table of its loads' power and the tables of its results."""

    def __init__(
        self,
        model: PowerGridModel,
        load_kind: ComponentType,
        load_ids: Array,
        results: list[ComponentType],
        *,
        symmetric: bool,
        max_iterations: int,
    ) -> None:
        self._core = get_power_grid_core()
        self._model = model
        self._loads = initialize_array(DatasetType.update, load_kind, len(load_ids))
        self._loads["id"] = load_ids
        kind = DatasetType.sym_output if symmetric else DatasetType.asym_output
        counts = model.all_component_count
        self._results = {each: initialize_array(kind, each, counts[each]) for each in results if each in counts}
        # Both point into the tables above, which live as long.
        self._given = CConstDataset({load_kind: self._loads}, DatasetType.update)
        self._found = CMutableDataset(self._results, kind)
        self._options = Options()  # type: ignore[no-untyped-call]
        self._options.calculation_type = CalculationType.power_flow.value
        self._options.calculation_method = CalculationMethod.newton_raphson.value
        self._options.symmetric = symmetric
        self._options.max_iterations = max_iterations
        self._options.threading = -1  # in this thread

    def calculate(self, active_w: Array, reactive_var: Array, tolerance_pu: float) -> dict[ComponentType, Any]:
        """Result tables by kind of element, with a row for each of the injections, of the shape (T, loads[, phases]).

        An injection sets every load, so that nothing is left of the one before: the results are those of a batch, to
        the last bit. Raises PowerGridError.
        """
        rows = {kind: np.empty((len(active_w), *table.shape), table.dtype) for kind, table in self._results.items()}
        self._options.error_tolerance = tolerance_pu
        for i, (active, reactive) in enumerate(zip(active_w, reactive_var, strict=True)):
            self._loads["p_specified"], self._loads["q_specified"] = active, reactive
            self._core.update_model(self._model._model, self._given.get_dataset_ptr())
            assert_no_error()
            self._core.calculate(self._model._model, self._options.opt, self._found.get_dataset_ptr(), _NO_BATCH)
            assert_no_error()
            for kind, table in self._results.items():
                rows[kind][i] = table
        return rows
