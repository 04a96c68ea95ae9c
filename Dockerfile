# BASE must hold Node 24 or newer with npm.
ARG BASE=node:24-slim

FROM ${BASE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No install scripts: the base brings Node, and nothing else that is needed here has any.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM ${BASE}
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY LICENSE ./
# Run it with --network host, since it listens on loopback, and with the Engine's socket:
#   docker run --network host --volume /var/run/docker.sock:/var/run/docker.sock IMAGE serve
ENTRYPOINT ["node", "/app/dist/bin.js"]
CMD ["serve"]
