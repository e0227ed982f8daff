# The gateway's image: one static-ish binary, a CA bundle, no shell scripts.
#
#   docker build -t portcullis .
#   docker run -d -p 80:80 -p 443:443 -v /var/run/docker.sock:/var/run/docker.sock:ro \
#       -v ./certs:/etc/portcullis/certs:ro -v portcullis:/var/lib/portcullis \
#       -e PORTCULLIS__ROOT_DOMAIN=example.com portcullis
ARG RUST=rust:1.95-bookworm
ARG BASE=debian:bookworm-slim

FROM ${RUST} AS build
WORKDIR /build
COPY . .
# As `make release` builds it, where that has been run here with the same compiler; else a plain release build.
RUN if [ -e target/pgo/portcullis.profdata ]; then benches/pgo.sh again; \
    else cargo build --locked --release --bin portcullis && mkdir -p target/pgo && mv target/release/portcullis target/pgo/; fi
# Most of it is for debuggers: 215 MB with the profile, 31 without what they read.
RUN strip --strip-debug target/pgo/portcullis

FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir -p /etc/portcullis/certs /var/lib/portcullis
COPY --from=build /build/target/pgo/portcullis /usr/local/bin/portcullis
COPY config/portcullis.toml /etc/portcullis/portcullis.toml
ENV PORTCULLIS__CERTIFICATES__DIR=/etc/portcullis/certs \
    PORTCULLIS__STORE__URL=sqlite:/var/lib/portcullis/portcullis.db
VOLUME /var/lib/portcullis
EXPOSE 80 443
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["portcullis", "healthcheck", "--config", "/etc/portcullis/portcullis.toml"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["portcullis"]
CMD ["run", "--config", "/etc/portcullis/portcullis.toml"]
