# Chamberlain in a container. Data is kept in /data; give it a volume.
#
#   docker build -t chamberlain .
#   docker run -p 8787:8787 -v chamberlain:/data chamberlain
#
# tests/e2e/python/test_packaging.py runs these steps.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked --package chamberlain

FROM debian:bookworm-slim
RUN useradd --system --user-group --home-dir /data --no-create-home chamberlain
RUN install --directory --owner chamberlain --group chamberlain --mode 0700 /data
COPY --from=build /src/target/dist/chamberlain /usr/bin/chamberlain
USER chamberlain
VOLUME /data
ENV CHAMBERLAIN_DATA=/data
ENV CHAMBERLAIN_SERVER__LISTEN=0.0.0.0:8787
EXPOSE 8787
HEALTHCHECK --interval=10s --timeout=3s CMD ["chamberlain", "status", "--ready"]
ENTRYPOINT ["chamberlain"]
CMD ["up"]
