# One image for every service and tool of this project:
#   docker build -t twinswarm .
#   docker run --rm twinswarm run --no-report
# With fewer libraries for a role alone, such as a twin's (none), the network's, or the EMS':
#   docker build -t twinswarm-twin --build-arg EXTRAS= .
#   docker build -t twinswarm-ems --build-arg EXTRAS=ems .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python3 -m venv /opt/twinswarm
ENV PATH=/opt/twinswarm/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
ARG EXTRAS=all
# The libraries by themselves: a change of our own code does not install them anew.
COPY pyproject.toml constraints.txt ./
RUN python3 -c 'import re, sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
extras = project["optional-dependencies"]; \
own = lambda line: re.fullmatch(r"twinswarm\[(.*)\]", line); \
of = lambda lines: [found for line in lines for found in (of(wanted(own(line)[1])) if own(line) else [line])]; \
wanted = lambda names: [line for name in filter(None, names.split(",")) for line in extras[name]]; \
print(*dict.fromkeys(of(project["dependencies"] + wanted(sys.argv[1]))), sep="\n")' "$EXTRAS" >requirements.txt \
 && pip install -c constraints.txt -r requirements.txt
COPY . .
RUN pip install --no-deps .
# Without what only developers need. Bytecode stays: in a container with a read-only root it cannot be made later.
RUN pip uninstall -y pip setuptools \
 && cd "$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
 && find . -type d \( -name tests -o -path ./numpy/_core/include \) -prune -exec rm -rf {} + \
 && find . -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.a' \) -delete

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="twinswarm" \
      org.opencontainers.image.description="A digital twin of a building as a swarm of MQTT services" \
      org.opencontainers.image.licenses="Apache-2.0"
# The state of services is in volumes here; a volume takes over its owner from this folder.
RUN groupadd --gid 10001 twinswarm \
 && useradd --uid 10001 --gid twinswarm --no-create-home --home-dir /var/lib/twinswarm --shell /usr/sbin/nologin twinswarm \
 && install -d -o twinswarm -g twinswarm /var/lib/twinswarm
COPY --from=build /opt/twinswarm /opt/twinswarm
# On a machine with many cores OpenBLAS would start more threads than a container may have; the matrices here are small.
ENV PATH=/opt/twinswarm/bin:$PATH PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib OPENBLAS_NUM_THREADS=1
USER 10001:10001
WORKDIR /var/lib/twinswarm
ENTRYPOINT ["twinswarm"]
