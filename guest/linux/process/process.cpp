// SPDX-License-Identifier: MIT
#include "guest/linux/process/process.hpp"

namespace guest::linux {

Process::Process(std::int32_t number, const Process& maker)
    : id(number), parent(maker.id), group(maker.group), session(maker.session),
      memory(maker.memory), limits(maker.limits), directory(maker.directory), umask(maker.umask),
      credentials(maker.credentials), traits(maker.traits), command(maker.command),
      executable(maker.executable), actions(maker.actions) {
  files.share_all(maker.files);
  traits.parent_death_signal = 0;
}

} // namespace guest::linux
