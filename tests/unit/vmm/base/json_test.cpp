// SPDX-License-Identifier: MIT
// JSON as it is written: shapes of braces, numbers, text that is no text.
#include "vmm/base/json.hpp"

#include <limits>
#include <optional>
#include <string>

#include <doctest/doctest.h>

namespace {

using vmm::Json;

TEST_CASE("json: every kind of value") {
  CHECK(Json().line() == "null");
  CHECK(Json(nullptr).line() == "null");
  CHECK(Json(true).line() == "true");
  CHECK(Json(-1).line() == "-1");
  CHECK(Json(std::numeric_limits<std::int64_t>::min()).line() == "-9223372036854775808");
  CHECK(Json(std::numeric_limits<std::uint64_t>::max()).line() == "18446744073709551615");
  CHECK(Json(std::uint8_t{7}).line() == "7");
  CHECK(Json(1.5).line() == "1.5");
  CHECK(Json("text").line() == R"("text")");
  CHECK(Json(std::optional<int>(3)).line() == "3");
  CHECK(Json(std::optional<double>()).line() == "null");
}

TEST_CASE("json: braces are an object when each element is a key and a value") {
  CHECK(Json{{"b", 1}, {"a", nullptr}}.line() == R"({"b":1,"a":null})");
  CHECK(Json{{"one", {{"two", 2}}}}.line() == R"({"one":{"two":2}})");
  CHECK(Json::array({1, "x"}).line() == R"([1,"x"])");
  CHECK(Json::array().line() == "[]");
}

TEST_CASE("json: an array of pairs of texts stays one when it is asked for") {
  CHECK(Json::array({Json::array({"a", "b"})}).line() == R"([["a","b"]])");
}

TEST_CASE("json: keys keep their order, and the last value counts") {
  Json json;
  json["z"] = 1;
  json["a"]["deep"] = true;
  json["z"] = 2;
  CHECK(json.line() == R"({"z":2,"a":{"deep":true}})");
}

TEST_CASE("json: an array grows") {
  Json json;
  json.push_back(1);
  json.push_back({{"k", "v"}});
  CHECK(json.line() == R"([1,{"k":"v"}])");
}

TEST_CASE("json: bytes that are no UTF-8 are replaced, quotes and control characters escaped") {
  CHECK(Json("\xff\"\n").line() == "\"\xef\xbf\xbd\\\"\\n\"");
}

TEST_CASE("json: several lines end in a newline") {
  CHECK(Json{{"a", 1}}.lines(2) == "{\n  \"a\": 1\n}\n");
}

} // namespace
