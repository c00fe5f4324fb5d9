# SPDX-License-Identifier: MIT
# A bare Debian 12 with the tree in it, in which the README's two commands work:
#
#   docker build -t ebb .
#   docker run --rm -it --device /dev/kvm ebb tools/quickstart
#   docker run --rm -it --device /dev/kvm ebb tools/test
#
# Without --device /dev/kvm, both run under software emulation.
FROM debian:12-slim
RUN apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends git ca-certificates
COPY . /ebb
WORKDIR /ebb
RUN tools/install-deps --nested && tools/nested --fetch && make -j"$(nproc)" all vmm-static
CMD ["tools/quickstart"]
