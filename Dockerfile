# Everything is installed in a stage of its own; what runs has neither compiler nor caches, and no rights.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY nba ./nba
COPY features ./features
COPY models ./models
COPY serving ./serving
RUN python -m venv /opt/nba \
 && /opt/nba/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt '.[otel]' \
 && /opt/nba/bin/pip uninstall --yes pip

FROM python:3.12-slim-bookworm
# LightGBM (nba train) is linked to the system's OpenMP.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin nba \
 && install -d -o nba -g nba -m 0700 /var/lib/nba
COPY --from=build /opt/nba /opt/nba
ENV PATH=/opt/nba/bin:$PATH PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp NBA_STATE_DIR=/var/lib/nba NBA_LOG=json
USER nba
WORKDIR /var/lib/nba
VOLUME /var/lib/nba
EXPOSE 8000
STOPSIGNAL SIGTERM
# Past any proxy: an engine may set one in every container, for the way out.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["nba"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
