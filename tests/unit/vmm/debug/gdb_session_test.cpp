// SPDX-License-Identifier: MIT
#include "vmm/debug/gdb_session.hpp"

#include <doctest/doctest.h>

#include "tests/support/fake_debug_target.hpp"
#include "vmm/debug/gdb_registers.hpp"

using namespace vmm;
using test_support::FakeDebugTarget;

namespace {

// A debugger that has switched acknowledgements off, unless a test wants them.
struct Talk {
  explicit Talk(unsigned vcpus = 2) : target(vcpus) { renew(); }

  void renew() {
    session.reset();
    session.emplace(target, [this](std::string_view bytes) { sent += bytes; });
    CHECK(raw(frame_packet("QStartNoAckMode")) == "+$OK#9a");
  }
  // What comes back, as it is.
  std::string raw(std::string_view bytes) {
    sent.clear();
    session->receive(bytes);
    return sent;
  }
  // The payload that comes back.
  std::string ask(std::string_view payload) {
    const std::string answer = raw(frame_packet(payload));
    if (answer.empty()) {
      return "(nothing)";
    }
    std::string inner;
    PacketReader reader;
    unsigned items = 0;
    reader.read(answer, [&](const PacketReader::Item& item) {
      CHECK(item.kind == PacketReader::Kind::packet);
      inner = item.payload;
      ++items;
    });
    CHECK(items == 1);
    return inner;
  }
  std::string after_event() {
    sent.clear();
    session->on_stop_event();
    return sent;
  }

  FakeDebugTarget target;
  std::string sent;
  std::optional<GdbSession> session;
};

std::vector<VcpuAction> actions_of(const FakeDebugTarget& target) {
  std::vector<VcpuAction> actions;
  for (const VcpuResume& each : target.resumed) {
    actions.push_back(each.action);
  }
  return actions;
}

const std::string bad = "E16";
const std::string fault = "E0e";

} // namespace

TEST_CASE("gdb session: connecting stops the guest, breaking off releases it") {
  Talk talk;
  CHECK(talk.target.attached);
  CHECK(talk.target.stops == 1);
  CHECK(talk.ask("?") == "T05thread:1;");
  CHECK(talk.ask("Z0,400010,1") == "OK");
  talk.session.reset();
  CHECK(talk.target.releases == 1);
  CHECK(talk.target.breakpoints.empty());
}

TEST_CASE("gdb session: acknowledgements, and repeating what got lost") {
  FakeDebugTarget target;
  std::string sent;
  GdbSession session(target, [&](std::string_view bytes) { sent += bytes; });
  session.receive("-"); // nothing was said yet
  CHECK(sent.empty());
  session.receive("$qC#b4");
  CHECK(sent == "+$QC1#c5");
  sent.clear();
  session.receive("-");
  session.receive("-");
  CHECK(sent == "$QC1#c5$QC1#c5");
  sent.clear();
  session.receive("+-"); // it arrived: there is nothing to repeat
  CHECK(sent.empty());
  session.receive("$qC#00");
  CHECK(sent == "-");
  sent.clear();
  session.receive(frame_packet("QStartNoAckMode"));
  session.receive("$qC#00"); // silently dropped from here on
  session.receive("$qC#b4");
  CHECK(sent == "+$OK#9a$QC1#c5");
}

TEST_CASE("gdb session: what is not known is answered empty, what is too long by an error") {
  Talk talk;
  for (const char* unknown : {"", "vMustReplyEmpty", "qTStatus", "Z2,400000,1", "z4,0,1", "vFile:x",
                              "!", "_m", "vCon", "qX", "R"}) {
    CAPTURE(unknown);
    CHECK(talk.ask(unknown).empty());
  }
  CHECK(talk.ask(std::string(max_packet_bytes + 1, 'm')) == bad);
}

TEST_CASE("gdb session: features are told") {
  Talk talk;
  const std::string features = talk.ask("qSupported:multiprocess+;swbreak+;xmlRegisters=i386");
  CHECK(features.find("PacketSize=4000") != std::string::npos);
  CHECK(features.find("qXfer:features:read+") != std::string::npos);
  CHECK(features.find("swbreak+") != std::string::npos);
  CHECK(talk.ask("qAttached") == "1");
  CHECK(talk.ask("vCont?") == "vCont;c;C;s;S");
}

TEST_CASE("gdb session: the target description comes in pieces") {
  Talk talk;
  std::string xml;
  while (true) {
    const std::string part =
        talk.ask(fmt::format("qXfer:features:read:target.xml:{:x},100", xml.size()));
    REQUIRE_FALSE(part.empty());
    xml += part.substr(1);
    if (part[0] == 'l') {
      break;
    }
    REQUIRE(part[0] == 'm');
    REQUIRE(part.size() == 0x101);
  }
  CHECK(xml == gdb_target_xml());
  CHECK(talk.ask(fmt::format("qXfer:features:read:target.xml:{:x},100", xml.size())) == "l");
  for (const char* wrong :
       {"other.xml:0,100", "target.xml:100000,1", "target.xml:ffffffffffffffff,ffffffffffffffff",
        "target.xml", "target.xml:0", "target.xml:x,1", ""}) {
    CAPTURE(wrong);
    CHECK(talk.ask(std::string("qXfer:features:read:") + wrong) == bad);
  }
  // More than fits a packet.
  CHECK(talk.ask("qXfer:features:read:target.xml:0,ffffffffffffffff").size() <= max_packet_bytes);
}

TEST_CASE("gdb session: threads are vCPUs") {
  Talk talk(3);
  CHECK(talk.ask("qfThreadInfo") == "m1,2,3");
  CHECK(talk.ask("qsThreadInfo") == "l");
  CHECK(talk.ask("T3") == "OK");
  CHECK(talk.ask("Hg2") == "OK");
  CHECK(talk.ask("qC") == "QC2");
  CHECK(talk.ask("Hg0") == "OK"); // any: stays
  CHECK(talk.ask("qC") == "QC2");
  CHECK(talk.ask("Hc-1") == "OK");
  CHECK(talk.ask("qThreadExtraInfo,2") == to_hex("vCPU 1, in ring 0"));
  for (const char* wrong : {"T4", "T00", "T", "Tffffffffffffffff", "T10000000000000001", "Hg4",
                            "Hx1", "H", "Hg", "Hg00", "qThreadExtraInfo,4"}) {
    CAPTURE(wrong);
    CHECK(talk.ask(wrong) == bad);
  }
  CHECK(talk.ask("qC") == "QC2");
}

TEST_CASE("gdb session: registers, all and one by one") {
  Talk talk;
  talk.target.registers_of[1].general[3] = 0x1122334455667788;
  CHECK(talk.ask("Hg2") == "OK");
  const std::string all = talk.ask("g");
  CHECK(all.size() == 2 * gdb_encode({}).size());
  CHECK(all.substr(3 * 16, 16) == "8877665544332211");
  CHECK(talk.ask("p3") == "8877665544332211");
  CHECK(talk.ask("p10") == "0100400000000000"); // rip
  CHECK(talk.ask("P3=0100000000000000") == "OK");
  CHECK(talk.target.registers_of[1].general[3] == 1);
  std::string changed = all;
  changed[0] = 'f';
  CHECK(talk.ask("G" + changed) == "OK");
  CHECK(talk.target.registers_of[1].general[0] == 0xf0);
  CHECK(talk.target.registers_of[0].general[0] == 0);
  for (const std::string& wrong :
       {std::string("p"), fmt::format("p{:x}", gdb_register_count()),
        std::string("pffffffffffffffff"), std::string("P3"), std::string("P3="),
        std::string("P3=00"), std::string("P3=0100000000000000ff"),
        fmt::format("P{:x}=00000000", gdb_register_count()), std::string("G"), "G" + all + "00",
        "G" + all.substr(2), std::string("Gxx")}) {
    CAPTURE(wrong);
    CHECK(talk.ask(wrong) == bad);
  }
  // A selector cannot be changed: the target refuses.
  CHECK(talk.ask("P12=05000000") == bad);
}

TEST_CASE("gdb session: memory is read as far as there is any") {
  Talk talk;
  talk.target.memory[0] = std::byte{0xab};
  CHECK(talk.ask("m400000,4") == "ab000000");
  CHECK(talk.ask("m40fffe,10") == "0000");
  CHECK(talk.ask("m3fffff,10") == fault);
  CHECK(talk.ask("mffffffffffffffff,2") == fault);
  CHECK(talk.ask("m400000,0") == fault);
  CHECK(talk.ask("m400000,ffffffffffffffff").size() == max_packet_bytes);
  for (const char* wrong :
       {"m", "m400000", "m400000,", "m,4", "mxyz,4", "m400000,-1", "m10000000000400000,4"}) {
    CAPTURE(wrong);
    CHECK(talk.ask(wrong) == bad);
  }
}

TEST_CASE("gdb session: memory is written whole or not at all") {
  Talk talk;
  CHECK(talk.ask("M400000,2:c0de") == "OK");
  CHECK(talk.target.memory[1] == std::byte{0xde});
  CHECK(talk.ask("X400002,0:") == "OK"); // a probe
  CHECK(talk.ask(std::string("X400002,2:") + escape_binary("}#")) == "OK");
  CHECK(talk.target.memory[2] == std::byte{'}'});
  CHECK(talk.target.memory[3] == std::byte{'#'});
  CHECK(talk.ask("M40ffff,2:ffff") == fault);
  CHECK(talk.target.memory[0xffff] == std::byte{0});
  CHECK(talk.ask("Mffffffffffffffff,2:0000") == fault);
  for (const char* wrong :
       {"M400000,2:c0", "M400000,2:c0deff", "M400000,2", "M400000,ffffffffffffffff:00",
        "M400000,2:c0xx", "X400000,2:a", "X400000,1:}", "X400000,1", "M"}) {
    CAPTURE(wrong);
    CHECK(talk.ask(wrong) == bad);
  }
}

TEST_CASE("gdb session: breakpoints") {
  Talk talk;
  CHECK(talk.ask("Z0,400010,1") == "OK");
  CHECK(talk.ask("Z0,400020,1;X1,00") == "OK"); // conditions are not asked for; gdb looks itself
  CHECK(talk.target.breakpoints == std::set<std::uint64_t>{0x400010, 0x400020});
  CHECK(talk.ask("z0,400010,1") == "OK");
  CHECK(talk.ask("z0,400010,1") == "OK"); // gone is gone
  CHECK(talk.ask("Z0,500000,1") == fault);
  CHECK(talk.ask("Z0,,1") == bad);
  CHECK(talk.ask("z0,q,1") == bad);
  CHECK(talk.target.breakpoints == std::set<std::uint64_t>{0x400020});
}

TEST_CASE("gdb session: each vCPU gets the first action that names it") {
  using enum VcpuAction;
  Talk talk(3);
  struct Row {
    const char* packet;
    std::vector<VcpuAction> actions;
  };
  for (const Row& row : std::vector<Row>{{"vCont;c", {go, go, go}},
                                         {"vCont;s:2;c", {go, step, go}},
                                         {"vCont;s:2", {stay, step, stay}},
                                         {"vCont;c:1;s:1;c:3", {go, stay, go}},
                                         {"vCont;c:-1", {go, go, go}},
                                         {"vCont;C05:2;c", {go, go, go}},
                                         {"vCont;S0b:3", {stay, stay, step}},
                                         {"c", {go, go, go}},
                                         {"s", {step, stay, stay}},
                                         {"C05", {go, go, go}},
                                         {"S05", {step, stay, stay}}}) {
    CAPTURE(row.packet);
    CHECK(talk.ask(row.packet) == "(nothing)");
    CHECK(talk.session->running());
    CHECK(actions_of(talk.target) == row.actions);
    CHECK(talk.raw("\x03") == frame_packet("T02thread:1;"));
  }
}

TEST_CASE("gdb session: a resumption that makes no sense moves nothing") {
  Talk talk;
  for (const char* wrong :
       {"vCont;", "vCont;x", "vCont;cc", "vCont;c:3", "vCont;c:x", "vCont;Cxx:1", "vCont;C",
        "vCont;s:", "vCont;t", "vCont;c:1:2:3;;", "vCont;r1,2:1", "cxyz", "s-1"}) {
    CAPTURE(wrong);
    const std::string answer = talk.ask(wrong);
    // An action for no thread in particular is for all.
    if (std::string_view(wrong) == "vCont;s:") {
      CHECK(talk.session->running());
      talk.raw("\x03");
      continue;
    }
    CHECK(answer == bad);
    CHECK_FALSE(talk.session->running());
  }
}

TEST_CASE("gdb session: going on at another address sets RIP") {
  Talk talk;
  CHECK(talk.ask("Hc2") == "OK");
  CHECK(talk.ask("c400123") == "(nothing)");
  CHECK(talk.target.registers_of[1].rip == 0x400123);
}

TEST_CASE("gdb session: an exception is passed on only with a signal, to its own vCPU") {
  Talk talk;
  CHECK(talk.ask("vCont;c") == "(nothing)");
  talk.target.stop_by_itself({.vcpu = 1, .reason = StopReason::exception, .vector = 14});
  CHECK(talk.after_event() == frame_packet("T0bthread:2;"));
  CHECK(talk.ask("vCont;C0b:2;c") == "(nothing)");
  CHECK_FALSE(talk.target.resumed[0].pass_exception);
  CHECK(talk.target.resumed[1].pass_exception);
  talk.target.stop_by_itself({.vcpu = 1, .reason = StopReason::exception, .vector = 6});
  CHECK(talk.after_event() == frame_packet("T04thread:2;"));
  CHECK(talk.ask("vCont;c") == "(nothing)");
  CHECK_FALSE(talk.target.resumed[1].pass_exception);
}

TEST_CASE("gdb session: why a vCPU stopped") {
  Talk talk;
  struct Row {
    DebugStop stop;
    const char* answer;
  };
  for (const Row& row : std::vector<Row>{{{1, StopReason::breakpoint, 3}, "T05thread:2;swbreak:;"},
                                         {{0, StopReason::stepped, 1}, "T05thread:1;"},
                                         {{1, StopReason::panic, 0}, "T06thread:2;"},
                                         {{0, StopReason::crash, 0}, "T0bthread:1;"},
                                         {{0, StopReason::exception, 0}, "T08thread:1;"},
                                         {{0, StopReason::exception, 3}, "T05thread:1;"},
                                         {{0, StopReason::exception, 17}, "T0athread:1;"},
                                         {{0, StopReason::exception, 13}, "T0bthread:1;"}}) {
    CAPTURE(row.answer);
    CHECK(talk.ask("c") == "(nothing)");
    talk.target.stop_by_itself(row.stop);
    CHECK(talk.after_event() == frame_packet(row.answer));
    CHECK(talk.ask("?") == row.answer);
    CHECK(talk.ask("qC") == fmt::format("QC{}", row.stop.vcpu + 1));
    CHECK(talk.after_event().empty()); // told once
  }
}

TEST_CASE("gdb session: an interrupt that meets a breakpoint tells the breakpoint") {
  Talk talk;
  CHECK(talk.ask("c") == "(nothing)");
  talk.target.next_stop = DebugStop{1, StopReason::breakpoint, 3};
  CHECK(talk.raw("\x03") == frame_packet("T05thread:2;swbreak:;"));
  CHECK(talk.raw("\x03").empty()); // it is stopped already
}

TEST_CASE("gdb session: while the guest goes, nothing is read or changed") {
  Talk talk;
  CHECK(talk.ask("c") == "(nothing)");
  for (const char* packet :
       {"g", "m400000,4", "M400000,1:00", "Z0,400000,1", "z0,400000,1", "?", "qC", "vCont;c",
        "qThreadExtraInfo,1", "qRcmd,68", "P3=0100000000000000"}) {
    CAPTURE(packet);
    CHECK(talk.ask(packet) == "(nothing)");
  }
  CHECK(talk.target.resumes == 1);
  CHECK(talk.ask("D") == "OK");
  CHECK(talk.session->over());
}

TEST_CASE("gdb session: detaching releases once, and nothing is heard afterwards") {
  Talk talk;
  CHECK(talk.ask("D;1") == "OK");
  CHECK(talk.session->over());
  CHECK(talk.ask("c") == "(nothing)");
  talk.session.reset();
  CHECK(talk.target.releases == 1);
  CHECK(talk.target.resumes == 0);
}

TEST_CASE("gdb session: killing ends the guest and does not let it go") {
  for (const char* packet : {"k", "vKill;1"}) {
    CAPTURE(packet);
    Talk talk;
    CHECK(talk.ask(packet) == (packet[0] == 'k' ? "(nothing)" : "OK"));
    CHECK(talk.session->over());
    talk.session.reset();
    CHECK(talk.target.kills == 1);
    CHECK(talk.target.releases == 0);
  }
}

TEST_CASE("gdb session: the guest's end is told to one who waits for it") {
  struct Row {
    GuestEnding ending;
    const char* answer;
  };
  for (const Row& row : std::vector<Row>{{{EndKind::exited, 7, {}}, "W07"},
                                         {{EndKind::panicked, 0, {}}, "X06"},
                                         {{EndKind::crashed, 0, {}}, "X0b"},
                                         {{EndKind::interrupted, 15, {}}, "X0f"},
                                         {{EndKind::host_failed, 0, {}}, "W04"}}) {
    CAPTURE(row.answer);
    Talk talk;
    talk.sent.clear();
    talk.session->on_end(row.ending);
    CHECK(talk.sent.empty()); // stopped: nobody waits
    CHECK(talk.session->over());
    Talk going;
    CHECK(going.ask("c") == "(nothing)");
    going.session->on_end(row.ending);
    CHECK(going.sent == frame_packet(row.answer));
    going.session.reset();
    CHECK(going.target.releases == 0);
  }
}

TEST_CASE("gdb session: monitor commands") {
  Talk talk;
  CHECK(talk.ask("qRcmd," + to_hex("hints")) == to_hex("you said hints\n"));
  CHECK(talk.ask("qRcmd," + to_hex("quiet")) == "OK");
  CHECK(talk.ask("qRcmd,") == to_hex("you said \n"));
  CHECK(talk.ask("qRcmd,0") == bad);
  CHECK(talk.ask("qRcmd," + to_hex(std::string(8000, 'x'))).size() <= max_packet_bytes);
}
