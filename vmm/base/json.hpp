// SPDX-License-Identifier: MIT
// A JSON value to be written. Objects keep the order in which their keys came. The text is
// nlohmann-json's work; only json.cpp includes it, as reading it takes seconds.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace vmm {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;

  Json(); // null
  Json(std::nullptr_t);
  Json(double number);
  Json(std::string_view text);
  Json(const std::string& text);
  Json(const char* text);
  template <std::same_as<bool> T> Json(T truth) : value_(truth) {}
  template <std::signed_integral T> Json(T number) : value_(std::int64_t{number}) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) Json(T number) : value_(std::uint64_t{number}) {}
  template <typename T> Json(const std::optional<T>& perhaps) { // null without a value
    if (perhaps) {
      *this = Json(*perhaps);
    }
  }
  // {{"key", value}, ...}: an object when every element is an array of a text and a value, else an
  // array of the elements.
  Json(std::initializer_list<Json> elements);
  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(const Json& other);
  Json& operator=(Json&& other) noexcept;
  ~Json();

  // An array whatever its elements are.
  [[nodiscard]] static Json array(std::initializer_list<Json> elements = {});

  // The value of `key`, made as null when there is none. Makes null an object; nothing but null and
  // objects has keys.
  Json& operator[](std::string_view key);
  // Makes null an array; nothing but null and arrays can grow.
  void push_back(Json element);

  // One line without spaces; with indent_columns several, and a newline at their end. Bytes that
  // are no UTF-8 become U+FFFD.
  [[nodiscard]] std::string line() const;
  [[nodiscard]] std::string lines(int indent_columns) const;

 private:
  friend struct JsonText;
  std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, Array,
               Object>
      value_;
};

} // namespace vmm
