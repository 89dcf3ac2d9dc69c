# One image for every process of Abono; the compose file names the command of each.
#   docker build -t abono .

FROM python:3.11-slim AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/abono
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
# The dependencies first: they change seldom, and a layer of their own is kept.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --no-install-project
COPY models models
COPY providers providers
COPY activities activities
COPY workflows workflows
COPY api api
COPY sandbox sandbox
COPY abono_client abono_client
COPY abono abono
RUN uv sync --frozen --no-dev --no-editable

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home --home-dir /var/lib/abono abono
COPY --from=build /opt/abono /opt/abono
ENV PATH=/opt/abono/bin:$PATH PYTHONUNBUFFERED=1 ABONO_HOME=/var/lib/abono ABONO_API_HOST=0.0.0.0
USER abono
WORKDIR /var/lib/abono
EXPOSE 8080
# Ready means: the database and Temporal answer. The worker has a check of its own, see the compose file.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=6 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
CMD ["abono", "api"]
