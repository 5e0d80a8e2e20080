# The suite in a container, on CPUs:
#   docker build -t gbnlib .
#   docker run --rm -p 8888:8888 gbnlib                  JupyterLab; its address and token are printed
#   docker run --name gbn gbnlib make reproduce          then: docker cp gbn:/gbnlib/results/quick/report .
FROM python:3.11-slim-bookworm

RUN apt-get update && \
    apt-get install -y --no-install-recommends g++ git make && \
    rm -rf /var/lib/apt/lists/*

RUN useradd --create-home gbn && install -d -o gbn /gbnlib
USER gbn
WORKDIR /gbnlib
RUN mkdir ~/.jupyter && \
    echo '{"ServerApp": {"ip": "0.0.0.0", "open_browser": false}}' > ~/.jupyter/jupyter_server_config.json

COPY --chown=gbn . .
RUN PIP_NO_CACHE_DIR=1 make setup CPU=1

EXPOSE 8888
CMD ["make", "lab"]
