// SPDX-License-Identifier: MIT
// A control socket that answers what a test says, and clients of it.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "vmm/base/event.hpp"
#include "vmm/base/unique_fd.hpp"
#include "vmm/control/control_socket.hpp"

namespace test_support {

inline vmm::ControlReply echo(std::string_view line) {
  return "ok " + std::string(line);
}

using Answer = std::function<vmm::ControlReply(std::string_view)>;

inline vmm::ControlSocket::Handler handler_of(Answer answer, const vmm::Event* news = nullptr) {
  return {.answer = [answer = std::move(answer)](std::string_view line,
                                                 vmm::UniqueFd& /*file*/) { return answer(line); },
          .too_long = [] { return std::string("error the line is too long"); },
          .too_many = [] { return std::string("error too many clients"); },
          .news = news};
}

inline std::unique_ptr<vmm::ControlSocket> serve(const std::string& path, Answer answer = echo,
                                                 const vmm::Event* news = nullptr) {
  auto socket = vmm::ControlSocket::create(path, handler_of(std::move(answer), news));
  REQUIRE_MESSAGE(socket.has_value(), socket.error().message);
  REQUIRE((*socket)->start());
  return std::move(*socket);
}

inline sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

class Client {
 public:
  explicit Client(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    REQUIRE(fd_.valid());
    const sockaddr_un address = address_of(path);
    connected_ =
        ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  [[nodiscard]] bool connected() const { return connected_; }
  // False when the other side has closed.
  bool send(std::string_view text) {
    return ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(text.size());
  }
  // With open files.
  bool hand_over(std::string_view text, const std::vector<int>& files) {
    iovec bytes{const_cast<char*>(text.data()), text.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> rights{};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = rights.data();
    message.msg_controllen = CMSG_SPACE(files.size() * sizeof(int));
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(files.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), files.data(), files.size() * sizeof(int));
    return ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  void end() { ::shutdown(fd_.get(), SHUT_WR); }
  // Up to and without the next newline; what there is when the other side has closed.
  std::string line() {
    std::size_t end = 0;
    while ((end = received_.find('\n')) == std::string::npos) {
      std::array<char, 4096> part{};
      const ssize_t size = ::recv(fd_.get(), part.data(), part.size(), 0);
      if (size <= 0) {
        return std::exchange(received_, {});
      }
      received_.append(part.data(), static_cast<std::size_t>(size));
    }
    std::string text = received_.substr(0, end);
    received_.erase(0, end + 1);
    return text;
  }

 private:
  vmm::UniqueFd fd_;
  std::string received_; // and not asked for yet
  bool connected_ = false;
};

} // namespace test_support
