"""Which extra of the distribution a library belongs to, for whoever runs without it."""

from types import TracebackType

from schemas.errors import Code, Fault, InputError

_OF_LIBRARY = {
    "amqtt": "broker",
    "cryptography": "provision",
    "defusedxml": "imports",
    "distributed": "dask",
    "entsoe": "feeds",
    "gymnasium": "gym",
    "highspy": "ems",
    "influxdb_client": "influx",
    "jinja2": "plots",
    "jmespath": "feeds",
    "linopy": "ems",
    "matplotlib": "plots",
    "ocpp": "drivers",
    "oemof": "imports",
    "openadr3": "openadr",
    "pandas": "analysis",
    "polars": "analysis",
    "power_grid_model": "network",
    "pvlib": "pv",
    "pymodbus": "drivers",
    "python_calamine": "imports",
    "s2python": "drivers",
    "scipy": "analysis",
    "sunspec2": "drivers",
    "urllib3": "feeds",
    "websockets": "drivers",
    "xarray": "analysis",
}
_OF_ROOM = {
    "services.drivers": "drivers",
    "services.ems": "ems",
    "services.feeds": "feeds",
    "twin_devices.network": "network",
    "twin_devices.physics.power_flow": "network",
    "twin_devices.physics.pv": "pv",
    "services.history": "analysis",
    "services.influx": "influx",
    "services.openadr": "openadr",
    "services.outward": "drivers",
    "services.sunspec": "drivers",
    "services.shadow.identification": "analysis",
    "twinswarm.deploy.stack": "provision",
    "twinswarm.imports": "imports",
    "twinswarm.study.calibration": "analysis",
}
"""By the module that imports it: several extras bring the same library."""
_SHARED = "numpy"


def require(*libraries: str) -> None:
    """Raises InputError with all that are not there, and what to install; nothing is loaded."""
    from importlib.util import find_spec

    faults: list[Fault] = []
    for library in libraries:
        if find_spec(library) is None:
            missing = missing_extra(ModuleNotFoundError(name=library))
            assert missing is not None, f"{library} is in no extra"
            faults += missing.faults
    if faults:
        raise InputError(faults)


def missing_extra(error: ModuleNotFoundError) -> InputError | None:
    """The error in words, with what to install; None: the module is of no extra."""
    library = (error.name or "").partition(".")[0]
    extra = _OF_LIBRARY.get(library)
    if extra is None and library != _SHARED:
        return None
    extra = _of_importer(error.__traceback__) or extra or "all"
    what = f"is not installed; it is in the extra {extra}: pip install 'twinswarm[{extra}]'"
    return InputError.one(library, what, code=Code.NOT_INSTALLED)


def _of_importer(trace: TracebackType | None) -> str | None:
    """The extra of the innermost module of ours that was importing."""
    found = None
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        for room, extra in _OF_ROOM.items():
            if name == room or name.startswith(f"{room}."):
                found = extra
        trace = trace.tb_next
    return found
