# SPDX-License-Identifier: Apache-2.0
# docker build -t localhost/weft:0.1.0 .    The same files as `make image`, which needs no engine that builds images.
FROM debian:trixie-slim AS build
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends ca-certificates make
WORKDIR /weft
COPY . .
RUN make build && mkdir /image && python3 cmake/image.py --folder /image

FROM scratch
COPY --from=build /image /
