# The image of the daemon: docker build --tag execlet .      (or npm run image, which fills in the labels; BuildKit is not needed)
# It holds Node, execlet and what execlet needs, and no shell. docs/kubernetes.md and docs/plain-docker.md say how it is run.
#
# Both bases are arguments. A build that is to be repeated names them by digest: --build-arg NODE_IMAGE=node:24-bookworm-slim@sha256:…

# Node 24 or newer with npm, and a shell.
ARG NODE_IMAGE=node:24-bookworm-slim
# What Node needs to run: glibc and libstdc++, no older than those of NODE_IMAGE.
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No install scripts: the base brings Node, and nothing else that is needed here has any.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY scripts/compile-cache.ts scripts/
RUN npm run build
# What is in the image besides its base and Node, for scanners.
RUN npm sbom --omit=dev --sbom-format=spdx >sbom.spdx.json
# And without what only compilers, debuggers and readers want: half of the modules' size.
RUN npm prune --omit=dev --ignore-scripts \
  && find node_modules -type f \( -name '*.d.ts' -o -name '*.d.[cm]ts' -o -name '*.map' -o -name '*.md' \) -delete
# The base has no /usr/bin/env, by which the packaged command finds Node.
RUN node=$(node --print process.execPath) \
  && sed --in-place '1s|.*|#!/usr/local/bin/node|' dist/bin.js \
  && chmod 755 dist/bin.js \
  && mkdir --parents /image/app /image/usr/local/bin \
  && cp "$node" /image/usr/local/bin/node \
  && ln --symbolic /app/dist/bin.js /image/usr/local/bin/execlet \
  && mv package.json sbom.spdx.json node_modules dist /image/app/
COPY LICENSE /image/app/

FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="execlet" \
  org.opencontainers.image.description="The kubelet's exec API for the containers of a Docker Engine" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image /
ENV NODE_ENV=production PATH=/usr/local/bin:/usr/bin:/bin
# Root, to be run with every capability dropped but KILL: the Engine's socket is root's, and so is the right to signal what it started.
# Another user gets no capability from the Engine, and ends no command (docs/termination.md).
USER 0:0
EXPOSE 10350
# Asks 127.0.0.1:10350. A daemon that listens elsewhere wants another: execlet health --server https://HOST:PORT
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["execlet", "health"]
ENTRYPOINT ["execlet"]
CMD ["serve"]
