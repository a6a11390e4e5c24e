# The base image `kappa/model-server:<version>-slim-py3XX`: the right Python and nothing else; it has no conda.
# `make images` builds it and its siblings; the argument BASE is where it starts.
ARG PYTHON
ARG BASE=python:${PYTHON}-slim
FROM ${BASE}

ARG PYTHON
ARG VERSION
COPY check.sh /tmp/
RUN bash /tmp/check.sh "${PYTHON}" && rm /tmp/check.sh

LABEL org.opencontainers.image.title="kappa/model-server" \
    org.opencontainers.image.version="${VERSION}" \
    kappa.python="${PYTHON}"
