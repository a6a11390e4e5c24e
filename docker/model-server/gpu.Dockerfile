# The base image `kappa/model-server:<version>-py3XX-gpu`: CUDA's libraries with cuDNN, and the right Python.
# `make images` builds it and its siblings; the argument BASE is where it starts, any Debian or Ubuntu with CUDA.
ARG BASE=nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04
FROM ${BASE}

ARG PYTHON
ARG VERSION
COPY check.sh install-python.sh /tmp/
RUN bash /tmp/install-python.sh "${PYTHON}" && bash /tmp/check.sh "${PYTHON}" && rm /tmp/check.sh /tmp/install-python.sh

LABEL org.opencontainers.image.title="kappa/model-server" \
    org.opencontainers.image.version="${VERSION}" \
    kappa.python="${PYTHON}"
