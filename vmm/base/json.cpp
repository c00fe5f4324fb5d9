// SPDX-License-Identifier: MIT
#include "vmm/base/json.hpp"

#include <algorithm>
#include <cassert>

#include <nlohmann/json.hpp>

namespace vmm {

Json::Json() = default;
Json::Json(std::nullptr_t) {}
Json::Json(double number) : value_(number) {}
Json::Json(std::string_view text) : value_(std::string(text)) {}
Json::Json(const std::string& text) : value_(text) {}
Json::Json(const char* text) : value_(std::string(text)) {}
Json::Json(const Json& other) = default;
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(const Json& other) = default;
Json& Json::operator=(Json&& other) noexcept = default;
Json::~Json() = default;

Json::Json(std::initializer_list<Json> elements) {
  const bool named = std::ranges::all_of(elements, [](const Json& element) {
    const auto* const pair = std::get_if<Array>(&element.value_);
    return pair != nullptr && pair->size() == 2 &&
           std::holds_alternative<std::string>(pair->front().value_);
  });
  if (!named) {
    value_ = Array(elements);
    return;
  }
  value_ = Object();
  for (const Json& element : elements) {
    const auto& pair = std::get<Array>(element.value_);
    (*this)[std::get<std::string>(pair.front().value_)] = pair.back();
  }
}

Json Json::array(std::initializer_list<Json> elements) {
  Json result;
  result.value_ = Array(elements);
  return result;
}

Json& Json::operator[](std::string_view key) {
  if (std::holds_alternative<std::nullptr_t>(value_)) {
    value_ = Object();
  }
  assert(std::holds_alternative<Object>(value_));
  auto& members = std::get<Object>(value_);
  const auto found = std::ranges::find(members, key, &Object::value_type::first);
  return found != members.end() ? found->second
                                : members.emplace_back(std::string(key), Json()).second;
}

void Json::push_back(Json element) {
  if (std::holds_alternative<std::nullptr_t>(value_)) {
    value_ = Array();
  }
  Array* const elements = std::get_if<Array>(&value_);
  assert(elements != nullptr);
  elements->push_back(std::move(element));
}

// The library's value of ours, for its text.
struct JsonText {
  using Text = nlohmann::ordered_json;

  static Text of(const Json& json) { return std::visit(JsonText(), json.value_); }

  Text operator()(const Json::Array& elements) const {
    Text text = Text::array();
    for (const Json& element : elements) {
      text.push_back(of(element));
    }
    return text;
  }
  Text operator()(const Json::Object& members) const {
    Text text = Text::object();
    for (const auto& [key, value] : members) {
      text[key] = of(value);
    }
    return text;
  }
  template <typename T> Text operator()(const T& scalar) const { return scalar; }

  static std::string dump(const Json& json, int indent_columns) {
    return of(json).dump(indent_columns, ' ', false, Text::error_handler_t::replace);
  }
};

std::string Json::line() const {
  return JsonText::dump(*this, -1);
}

std::string Json::lines(int indent_columns) const {
  return JsonText::dump(*this, indent_columns) + '\n';
}

} // namespace vmm
