# BASE must hold Node 24 or newer with npm.
ARG BASE=node:24-slim

FROM ${BASE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No install scripts: the base brings Node, and nothing else that is needed here has any.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY scripts/compile-cache.ts scripts/
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM ${BASE}
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY LICENSE ./
# With nothing set it listens on loopback, so on the host's network; and it needs the Engine's socket:
#   docker run --network host --volume /var/run/docker.sock:/var/run/docker.sock IMAGE serve
# On the network (docs/access.md), with a volume that keeps the certificate it makes:
#   docker run --publish 10350:10350 --volume /var/run/docker.sock:/var/run/docker.sock --volume execlet:/var/lib/execlet \
#     --volume /etc/execlet:/etc/execlet:ro IMAGE serve --config /etc/execlet/execlet.yaml
ENTRYPOINT ["node", "/app/dist/bin.js"]
CMD ["serve"]
