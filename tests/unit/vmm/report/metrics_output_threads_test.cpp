// SPDX-License-Identifier: MIT
#include "vmm/report/metrics_output.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/temporary_folder.hpp"

using namespace vmm;
using test_support::TemporaryFolder;
using namespace std::chrono_literals;

namespace {

std::string content(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Counts how often it was asked.
struct Asked {
  std::atomic<std::uint64_t> times{0};
  MetricsOutput::Source source() {
    return [this] {
      RunStats stats;
      stats.hints.batches = ++times;
      return stats;
    };
  }
};

std::unique_ptr<MetricsOutput> output(MetricsForm form, const std::string& path, Asked& asked,
                                      std::chrono::milliseconds period = 1h) {
  auto made = MetricsOutput::create({form, path}, period, asked.source());
  REQUIRE_MESSAGE(made.has_value(), made.error().message);
  REQUIRE((*made)->start());
  return std::move(*made);
}

class Client {
 public:
  explicit Client(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    REQUIRE(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  void send(std::string_view text) const {
    static_cast<void>(::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL));
  }
  [[nodiscard]] std::string all() const {
    std::string text;
    std::array<char, 4096> part{};
    for (ssize_t got = 1; got > 0;) {
      got = ::recv(fd_.get(), part.data(), part.size(), 0);
      text.append(part.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    }
    return text;
  }

 private:
  UniqueFd fd_;
};

} // namespace

TEST_CASE("a file always holds one whole text, the last one at the end") {
  const TemporaryFolder dir;
  const std::string path = dir / "m.prom";
  Asked asked;
  const auto metrics = output(MetricsForm::file, path, asked, 1ms);
  while (asked.times < 50) {
    const std::string text = content(path);
    const bool whole =
        text.empty() || (text.starts_with("# HELP ebb_info") && text.ends_with("\n") &&
                         text.find("ebb_vcpus 1\n") != std::string::npos);
    REQUIRE_MESSAGE(whole, text);
  }
  metrics->stop();
  CHECK(metrics->result().has_value());
  CHECK(content(path).find("ebb_hints_batches_total " + std::to_string(asked.times) + "\n") !=
        std::string::npos);
  CHECK(std::distance(std::filesystem::directory_iterator(dir / "."), {}) == 1);
}

TEST_CASE("an old file is replaced, where a link leads, too; nothing else is") {
  const TemporaryFolder dir;
  std::ofstream(dir / "old") << "old";
  std::filesystem::create_symlink("old", dir / "link");
  std::filesystem::create_directory(dir / "folder");
  Asked asked;
  output(MetricsForm::file, dir / "link", asked)->stop();
  CHECK(content(dir / "old").starts_with("# HELP"));
  CHECK(std::filesystem::is_symlink(dir / "link"));
  for (const std::string& wrong : {dir / "folder", dir / "absent/m", std::string("/dev/null"),
                                   std::string("-"), dir / "old/m"}) {
    CAPTURE(wrong);
    const auto refused = MetricsOutput::create({MetricsForm::file, wrong}, 1s, asked.source());
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().error_class == ErrorClass::user);
    CHECK(refused.error().message.starts_with("--metrics " + wrong));
  }
}

TEST_CASE("what somebody else writes, or reads as it comes, is no place for metrics") {
  const TemporaryFolder dir;
  Asked asked;
  const UniqueFd trace(::open((dir / "trace").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(::flock(trace.get(), LOCK_EX) == 0);
  const auto locked = MetricsOutput::create({MetricsForm::file, dir / "trace"}, 1s, asked.source());
  REQUIRE_FALSE(locked.has_value());
  CHECK(locked.error().message.ends_with("another process is writing it"));
  REQUIRE(::mkfifo((dir / "pipe.jsonl").c_str(), 0600) == 0);
  const UniqueFd reader(::open((dir / "pipe.jsonl").c_str(), O_RDWR | O_CLOEXEC));
  for (const std::string& wrong : {dir / "pipe.jsonl", std::string("/dev/null"), dir / "."}) {
    CAPTURE(wrong);
    const auto refused = MetricsOutput::create({MetricsForm::lines, wrong}, 1s, asked.source());
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().error_class == ErrorClass::user);
  }
}

TEST_CASE("what cannot be written is told, and the old text stays") {
  const TemporaryFolder dir;
  std::filesystem::create_directory(dir / "sub");
  Asked asked;
  const auto metrics = output(MetricsForm::file, dir / "sub/m", asked);
  std::filesystem::rename(dir / "sub", dir / "gone");
  metrics->stop();
  REQUIRE_FALSE(metrics->result().has_value());
  CHECK(metrics->result().error().error_class == ErrorClass::environment);
}

TEST_CASE("lines are added to what is there") {
  const TemporaryFolder dir;
  const std::string path = dir / "m.jsonl";
  std::ofstream(path) << "{}\n";
  Asked asked;
  const auto metrics = output(MetricsForm::lines, path, asked, 1ms);
  while (asked.times < 3) {
  }
  metrics->stop();
  std::istringstream lines(content(path));
  std::string line;
  REQUIRE(std::getline(lines, line));
  CHECK(line == "{}");
  std::uint64_t count = 0;
  while (std::getline(lines, line)) {
    ++count;
    CHECK(line.starts_with("{\"time_seconds\":"));
    CHECK(line.find("\"ebb_hints_batches_total\":" + std::to_string(count) + ",") !=
          std::string::npos);
  }
  CHECK(count == asked.times);
}

TEST_CASE("each client of a socket gets one text, whatever it does") {
  const TemporaryFolder dir;
  const std::string path = dir / "s";
  Asked asked;
  const auto metrics = output(MetricsForm::socket, path, asked);
  CHECK(asked.times == 0);
  for (unsigned round = 1; round <= 3; ++round) {
    const Client client(path);
    client.send("GET /metrics HTTP/1.1\r\n\r\n");
    CHECK(client.all().find("ebb_hints_batches_total " + std::to_string(round) + "\n") !=
          std::string::npos);
  }
  { const Client gone(path); }
  std::vector<Client> silent; // never read
  for (unsigned count = 0; count < 20; ++count) {
    silent.emplace_back(path);
  }
  CHECK(Client(path).all().ends_with("ebb_vcpus 1\n"));
  struct stat status {};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}
